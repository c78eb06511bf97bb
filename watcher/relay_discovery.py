# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the zone's relays are: SRV at `_autotunnel-relay._tcp`, and the addresses of their targets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import dns.name
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils.records import Server

from .lookup import async_lookup

if TYPE_CHECKING:
    from .peers import Asker

SERVICE = "_autotunnel-relay._tcp"


@dataclass(frozen=True, slots=True)
class Found:
    """A relay at one of its addresses."""

    server: Server
    address: IPv4Address | IPv6Address

    @property
    def host(self) -> str:
        """The name in its certificate."""
        return self.server.name.to_text(omit_final_dot=True)

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"the relay {self.host} ({self.address} port {self.server.port})"


async def async_find(client: Asker, zone: dns.name.Name) -> list[Found]:
    """Return the zone's relays, best first; IPv4 before IPv6, since it is the NATs of IPv4 that are to be opened.

    Raises:
        ZoneServerError, UpdateError: the zone can't be asked.
    """
    name = dns.name.from_text(SERVICE, zone)
    records = [each for each in await async_lookup(client, name, dns.rdatatype.SRV) if each.target != dns.name.root]
    found = []
    for record in sorted(records, key=lambda each: (each.priority, -each.weight)):
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            for answer in await async_lookup(client, record.target, kind):
                server = Server(record.target, record.port)
                found.append(Found(server, ip_address(answer.address)))
    return found
