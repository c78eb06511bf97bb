# SPDX-License-Identifier: GPL-3.0-or-later
"""This host's way out: its primary IPv4 address and default gateway, and whether a NAT stands between."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

PROC_NET_ROUTE = Path("/proc/self/net/route")

# Not `ipaddress.is_global`: that also calls the documentation ranges private, and a rehearsal fleet lives in them.
_PRIVATE = tuple(
    IPv4Network(net)
    for net in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598, carrier-grade NAT
        "169.254.0.0/16",  # RFC 3927, link-local
        "192.0.0.0/24",  # RFC 7335, DS-Lite
        "0.0.0.0/8",
        "127.0.0.0/8",
    )
)

_RTF_UP = 0x1
_RTF_GATEWAY = 0x2


@dataclass(frozen=True, slots=True)
class Uplink:
    """Primary IPv4 address and the gateway toward everything (None: the link itself leads there)."""

    address: IPv4Address
    gateway: IPv4Address | None

    @property
    def behind_nat(self) -> bool:
        """Whether a mapping is needed: own address and router are both private (RFC 6281 section 4, `facts` 6.1)."""
        return is_private(self.address) and self.gateway is not None and is_private(self.gateway)


def is_private(address: IPv4Address) -> bool:
    """Whether the Internet can't reach `address`."""
    return any(address in net for net in _PRIVATE)


def default_gateway(table: str) -> IPv4Address | None:
    """The gateway of the best default route in the text of /proc/self/net/route, or None."""
    best: tuple[int, IPv4Address] | None = None
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, gateway, flags, metric, mask = (int(fields[i], base) for i, base in _COLUMNS)
        wanted = _RTF_UP | _RTF_GATEWAY
        if destination == 0 and mask == 0 and flags & wanted == wanted and (best is None or metric < best[0]):
            # The kernel prints the address as a number in host byte order.
            best = (metric, IPv4Address(struct.pack("=L", gateway)))
    return best[1] if best else None


_COLUMNS = ((1, 16), (2, 16), (3, 16), (6, 10), (7, 16))


def find(toward: IPv4Address) -> Uplink | None:
    """Look at the routing table as it is now; None without a way out.

    Args:
        toward: where traffic goes when there is no default gateway (the zone server).
    """
    gateway = default_gateway(PROC_NET_ROUTE.read_text(encoding="ascii"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent: connect() on UDP only picks the source address.
            sock.connect((str(gateway or toward), 9))
        except OSError:
            return None
        return Uplink(IPv4Address(sock.getsockname()[0]), gateway)
