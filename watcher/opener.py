# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends datagrams from charon's own port, so that the NAT opens that port and no other.

charon binds UDP 4500 exclusively: seen with 5.9.8 and 6.0.1, a second socket gets EADDRINUSE whatever options it has.
A raw socket (CAP_NET_RAW) needs no port, and takes none of charon's datagrams away.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

KEEPALIVE = b"\xff"  # RFC 3948 section 2.3: opens the NAT, and is dropped by who gets it

_UDP = struct.Struct("!HHHH")  # RFC 768
_IPV6_CHECKSUM = 7  # linux/in6.h: the kernel computes the checksum at an offset (RFC 3542 section 3.1)


def send(payload: bytes, source_port: int, address: IPv4Address | IPv6Address, port: int) -> None:
    """Send one UDP datagram.

    Raises:
        OSError: no way there, or the capability is missing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        # Connected, it is given the source address that the routing table says, and hears only that one host.
        sock.connect((str(address), 0))
        datagram = bytearray(_UDP.pack(source_port, port, _UDP.size + len(payload), 0) + payload)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, 6)
        else:
            sum_ = checksum(IPv4Address(sock.getsockname()[0]), IPv4Address(address), bytes(datagram))
            datagram[6:8] = sum_.to_bytes(2, "big")
        sock.send(datagram)


def checksum(source: IPv4Address, destination: IPv4Address, datagram: bytes) -> int:
    """Return the UDP checksum over IPv4 (RFC 768): 0xffff where the sum is zero, since zero means none."""
    pseudo = source.packed + destination.packed + struct.pack("!BBH", 0, socket.IPPROTO_UDP, len(datagram))
    octets = pseudo + datagram + b"\0" * (len(datagram) % 2)
    total = sum(word for (word,) in struct.iter_unpack("!H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF) or 0xFFFF
