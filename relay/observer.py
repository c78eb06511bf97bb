# SPDX-License-Identifier: GPL-3.0-or-later
"""Two UDP ports at which a host shows where its UDP 4500 is seen from outside. They never answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import parse_token

from .datagram import Address, udp_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_AT_ONCE = 64


class Observer:
    """Calls `seen` with the token, the port and the source of every token that comes in."""

    def __init__(self, ports: tuple[int, ...], seen: Callable[[str, int, Address], None]) -> None:
        self.ports = ports
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        try:
            for port in ports:
                self._sockets.append(udp_socket(port))
        except BaseException:
            self.close()
            raise
        for sock, port in zip(self._sockets, ports, strict=True):
            self._loop.add_reader(sock, self._read, sock, port)

    def close(self) -> None:
        """Give the ports back."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()

    def _read(self, sock: socket.socket, port: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram, source = sock.recvfrom(64)
            except OSError:
                return
            token = parse_token(datagram)
            if token is not None:
                self._seen(token, port, source)
