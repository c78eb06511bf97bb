# SPDX-License-Identifier: GPL-3.0-or-later
"""Hears what a gateway announces by itself at 224.0.0.1:5350 (RFC 6886 section 3.2.1, RFC 6887 section 14.1)."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import natpmp, pcp

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from .mapping import Method

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announcement; PCP's carries no address."""

    method: Method
    epoch_s: int
    address: IPv4Address | None


def parse(data: bytes) -> Announcement:
    """Read an announcement of either protocol.

    Raises:
        natpmp.NatPmpError, pcp.PcpError: it is neither.
    """
    if data[:1] == bytes((pcp.VERSION,)):
        return Announcement("pcp", pcp.parse_announcement(data), None)
    reply = natpmp.parse_address_reply(data)
    return Announcement("nat-pmp", reply.epoch_s, reply.address)


class Listener(asyncio.DatagramProtocol):
    """Passes on what the one gateway announces; noise and other senders are passed over (RFC 6886 section 3.2.1)."""

    def __init__(self, gateway: IPv4Address, own: IPv4Address, heard: Callable[[Announcement], None]) -> None:
        self._gateway = gateway
        self._own = own
        self._heard = heard
        self._transport: asyncio.DatagramTransport | None = None

    async def async_open(self) -> None:
        """Join the group on the interface of our own address.

        Raises:
            OSError: no such interface any more, or the port is taken by a program that does not share it.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            # Bound to the group and not to all addresses, so that every process of the host that does so hears it
            # (RFC 6886 section 3.2.1).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(pcp.ANNOUNCE_GROUP), pcp.ANNOUNCE_PORT))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, pcp.ANNOUNCE_GROUP.packed + self._own.packed)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        self._transport = transport

    def close(self) -> None:
        """Leave the group."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take one datagram."""
        if addr[0] != str(self._gateway):
            return
        try:
            announcement = parse(data)
        except (natpmp.NatPmpError, pcp.PcpError) as err:
            _LOGGER.debug("ignored from %s: %s", addr[0], err)
        else:
            self._heard(announcement)
