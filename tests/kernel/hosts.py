# SPDX-License-Identifier: GPL-3.0-or-later
"""The two hosts, as in the rehearsal fleet: imac and macbook, each behind a router of its own."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from tests.certificates import PREFIX

ZONE = "bob.members.example"


@dataclass(frozen=True)
class Host:
    """A host, the router before it, and where the router's mapping of UDP 4500 makes it seen."""

    label: str
    number: int
    router: str
    lan: str  # the first three octets
    wan: str
    port: int

    @property
    def identity(self) -> str:
        """Its name in the zone."""
        return f"{self.label}.{ZONE}"

    @property
    def outer6(self) -> str:
        """Its IPv6 address outside."""
        return f"2001:db8:{self.number}::10"

    @property
    def ula(self) -> IPv6Address:
        """Its address in the fleet."""
        return PREFIX[self.number]


IMAC = Host("imac", 1, "home", "192.168.10", "203.0.113.101", 41500)
MACBOOK = Host("macbook", 2, "cafe", "192.168.20", "203.0.113.102", 41501)
HOSTS = (IMAC, MACBOOK)


def other(host: Host) -> Host:
    """The host at the other end."""
    return MACBOOK if host is IMAC else IMAC
