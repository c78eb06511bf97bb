# SPDX-License-Identifier: GPL-3.0-or-later
"""This host's ways out: its IPv4 address and default gateway, whether a NAT stands between, and its IPv6 address."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_GLOBAL6 = IPv6Network("2000::/3")  # RFC 4291 section 2.4: what is allocated of global unicast; no ULA, no link-local
FAR4 = IPv4Address("192.0.2.1")  # RFC 5737, RFC 3849: reached by a default route and by nothing else
FAR6 = IPv6Address("2001:db8::1")

_RTF_UP = 0x1
_RTF_GATEWAY = 0x2

# RFC 5014, linux/in6.h: an address that stays, not a temporary one (RFC 8981) that peers lose within a day.
_IPV6_ADDR_PREFERENCES = 72
_IPV6_PREFER_SRC_PUBLIC = 0x0002


@dataclass(frozen=True, slots=True)
class Uplink:
    """The ways out.

    `address` is the primary IPv4 address, `gateway` the router toward everything (None: the link itself leads there),
    `interface` the IPv4 link's name, `subnets` what is on that link itself; `address6` is our own global IPv6 address.
    Each is None when there is none; one of the two addresses always is there.
    """

    address: IPv4Address | None
    gateway: IPv4Address | None
    address6: IPv6Address | None = None
    interface: str | None = None
    subnets: tuple[IPv4Network, ...] = ()

    def __str__(self) -> str:
        """Return the form that messages use."""
        return f"{self.address} by gateway {self.gateway}" if self.gateway else f"{self.address} without a gateway"

    @property
    def behind_nat(self) -> bool:
        """Whether a mapping is needed: own address and router are both private (RFC 6281 section 4, `facts` 6.1)."""
        return (
            self.address is not None
            and is_private(self.address)
            and self.gateway is not None
            and is_private(self.gateway)
        )

    def on_link(self, address: IPv4Address) -> bool:
        """Whether `address` is reached without a router."""
        return any(address in net for net in self.subnets)


@dataclass(frozen=True, slots=True)
class Route:
    """One line of /proc/net/route; `gateway` None when the link itself leads there."""

    interface: str
    network: IPv4Network
    gateway: IPv4Address | None
    metric: int


def is_private(address: IPv4Address) -> bool:
    """Whether the Internet can't reach `address`."""
    return any(address in net for net in _PRIVATE)


def routes(table: str) -> tuple[Route, ...]:
    """Read the text of /proc/self/net/route, leaving out what is down."""
    return tuple(_routes(table))


def _routes(table: str) -> Iterator[Route]:
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, gateway, flags, metric, mask = (int(fields[i], base) for i, base in _COLUMNS)
        if flags & _RTF_UP:
            network = IPv4Network((_address(destination), str(_address(mask))), strict=False)
            yield Route(fields[0], network, _address(gateway) if flags & _RTF_GATEWAY else None, metric)


_COLUMNS = ((1, 16), (2, 16), (3, 16), (6, 10), (7, 16))


def _address(number: int) -> IPv4Address:
    # The kernel prints the address as a number in host byte order.
    return IPv4Address(struct.pack("=L", number))


def best_route(table: tuple[Route, ...], toward: IPv4Address) -> Route | None:
    """The route toward an address: the longest prefix, then the lowest metric."""
    leading = [route for route in table if toward in route.network]
    return min(leading, key=lambda route: (-route.network.prefixlen, route.metric), default=None)


def find(toward: IPv4Address = FAR4, toward6: IPv6Address = FAR6) -> Uplink | None:
    """Look at the routing tables as they are now; None without any way out.

    Args:
        toward: where traffic goes when there is no default gateway (the zone server).
        toward6: the same for IPv6.
    """
    table = routes(PROC_NET_ROUTE.read_text(encoding="ascii"))
    default = min(
        (route for route in table if route.network.prefixlen == 0 and route.gateway is not None),
        key=lambda route: route.metric,
        default=None,
    )
    way = default or best_route(table, toward)
    gateway = default.gateway if default else None
    address, address6 = _source(gateway or toward), _source6(toward6)
    if address is None and address6 is None:
        return None
    interface = way.interface if way and address else None
    subnets = tuple(
        route.network
        for route in table
        if route.interface == interface and route.gateway is None and route.network.prefixlen > 0
    )
    return Uplink(address, gateway if address else None, address6, interface, subnets)


def _source(toward: IPv4Address) -> IPv4Address | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent: connect() on UDP only picks the source address.
            sock.connect((str(toward), 9))
        except OSError:
            return None
        return IPv4Address(sock.getsockname()[0])


def _source6(toward: IPv6Address) -> IPv6Address | None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_ADDR_PREFERENCES, _IPV6_PREFER_SRC_PUBLIC)
            sock.connect((str(toward), 9))
            address = IPv6Address(sock.getsockname()[0])
    except OSError:  # also: no IPv6 in this kernel
        return None
    return address if address in _GLOBAL6 else None
