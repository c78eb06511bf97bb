# SPDX-License-Identifier: GPL-3.0-or-later
"""What a datagram on UDP 4500 is, told by its first octets (RFC 3948 section 2), and the sockets that carry them."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

from .errors import RelayError

# As the socket tells it; compared as it is, since that is what happens for every datagram.
Address = tuple[str | int, ...]

KEEPALIVE = b"\xff"  # RFC 3948 section 2.3

_MARKER = b"\0\0\0\0"
_IKE_HEADER = 28  # RFC 7296 section 3.1
# SPI, sequence number, two octets of trailer and an ICV (RFC 4303 section 2, RFC 4106: 8 octets and more).
_ESP_LEAST = 4 + 4 + 2 + 8


def spi_of(datagram: bytes) -> bytes | None:
    """Return what names the security association of an IKE or ESP datagram; None when it is neither.

    For IKE that is the initiator's SPI: it stays from the first message to the last (RFC 7296 section 2.6).
    """
    if datagram.startswith(_MARKER):
        length = len(datagram) - len(_MARKER)
        if length < _IKE_HEADER or datagram[21] >> 4 != 2 or int.from_bytes(datagram[28:32], "big") != length:
            return None
        return datagram[4:12]
    # Values up to 255 are reserved (RFC 4303 section 2.1).
    if len(datagram) < _ESP_LEAST or datagram.startswith(b"\0\0\0"):
        return None
    return datagram[:4]


def udp_socket(port: int) -> socket.socket:
    """Return a socket on `port` for both families; for IPv4 alone where the kernel has no IPv6.

    Raises:
        RelayError: the port is taken.
    """
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    try:
        sock.bind(("", port))
    except OSError as error:
        sock.close()
        raise RelayError(f"UDP port {port} can't be had ({error.strerror}): choose others for the relay") from error
    return sock


def outer(address: Address) -> tuple[IPv4Address | IPv6Address, int]:
    """Return address and port as people know them: IPv4 as IPv4, not mapped into IPv6."""
    host = str(address[0]).partition("%")[0]
    found = IPv6Address(host) if ":" in host else IPv4Address(host)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found, int(address[1])
