# SPDX-License-Identifier: GPL-3.0-or-later
"""The UDP sockets of a server: many datagrams in a turn of the loop, each answered from where it came to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .access import Client

AT_ONCE = 128  # datagrams in one turn of the loop, so that the others have theirs
BUFFER = 4_194_304  # octets that are asked of the kernel: ten thousand clients acknowledge an event at the same time
LARGEST = 4_096  # octets of a request
# ip(7), ipv6(7): which address a datagram came to. Answers have to come from there: a connected socket takes no others.
_IP_PKTINFO = 8  # Python has it from 3.12 on
_PKTINFO4 = struct.Struct("@I4s4s")  # interface, our address, the one in the header
_PKTINFO6 = struct.Struct("@16sI")  # our address, interface
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO6.size)

_Ancillary = tuple[tuple[int, int, bytes], ...]


class Datagrams:
    """One client: an address and port, at one socket and address of ours."""

    __slots__ = ("_from", "_sock", "_to", "address", "client", "where")

    reliable = secret = False

    def __init__(self, sock: socket.socket, to: tuple[Any, ...], from_: _Ancillary) -> None:
        self._sock = sock
        self._to = to
        self._from = from_
        self.address = str(to[0])
        self.where = (self.address, int(to[1]))
        self.client: Client | None = None

    def introduced(self, _: Client) -> bool:
        """There is no connection that would be somebody's."""
        return True

    def tell(self, wire: bytes) -> None:
        """Send one datagram; one that the kernel does not take is lost, as others are on their way."""
        with contextlib.suppress(OSError):
            self._sock.sendmsg((wire,), self._from, 0, self._to)


class DatagramSockets:
    """Listens."""

    def __init__(self, take: Callable[[bytes, Datagrams], None]) -> None:
        self._take = take
        self._sockets: list[socket.socket] = []

    def listen(self, address: str, port: int) -> None:
        """Serve on one address and port.

        Raises:
            OSError: the port is taken or not allowed.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        sock.bind((address, port))
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, sock)

    def close(self) -> None:
        """Stop."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                wire, ancillary, _, source = sock.recvmsg(LARGEST, _ANCILLARY)
            except OSError:  # nothing more, or an ICMP message about who has gone
                return
            self._take(wire, Datagrams(sock, source, tuple(map(_turned, ancillary))))


def _turned(came: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """Return what sends from the address that a datagram came to, by whatever interface leads to the client now."""
    level, kind, data = came
    if level == socket.IPPROTO_IPV6:
        return level, kind, _PKTINFO6.pack(_PKTINFO6.unpack(data)[0], 0)
    return level, kind, _PKTINFO4.pack(0, _PKTINFO4.unpack(data)[1], bytes(4))
