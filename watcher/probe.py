# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a peer for a sign of life through its tunnel: an ICMPv6 echo (RFC 4443 section 4.1) from ULA to ULA."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

WITHIN_S = 0.3
_SENDS = 2

_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ICMP6_FILTER = 1  # linux/icmpv6.h
_HEADER = struct.Struct("!BBHHH")


async def async_alive(own: IPv6Address, peer: IPv6Address, within_s: float = WITHIN_S) -> bool:
    """Tell whether `peer` answers within `within_s` seconds; not, when this process may not ask."""
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            sock.setblocking(False)
            # A set bit blocks that type (RFC 3542 section 3.2): this socket would else see all ICMPv6 of the peer.
            blocked = ~(1 << (_ECHO_REPLY & 31)) & 0xFFFFFFFF
            words = [0xFFFFFFFF] * 8
            words[_ECHO_REPLY >> 5] = blocked
            sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
            sock.bind((str(own), 0))
            sock.connect((str(peer), 0))
            # The kernel fills in the checksum (RFC 3542 section 3.1).
            request = _HEADER.pack(_ECHO_REQUEST, 0, 0, secrets.randbelow(1 << 16), 1) + secrets.token_bytes(8)
            for _ in range(_SENDS):
                await loop.sock_sendall(sock, request)
                try:
                    async with asyncio.timeout(within_s / _SENDS):
                        while (await loop.sock_recv(sock, 128))[4:] != request[4:]:
                            pass
                except TimeoutError:
                    continue
                return True
    except OSError:
        return False
    return False
