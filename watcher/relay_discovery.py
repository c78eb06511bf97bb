# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the zone's relays are: SRV at `_autotunnel-relay._tcp`, and the addresses of their targets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import dns.message
import dns.name
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils.records import Server

if TYPE_CHECKING:
    from dns.rdatatype import RdataType

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
    records = [each for each in await _async_ask(client, name, dns.rdatatype.SRV) if each.target != dns.name.root]
    found = []
    for record in sorted(records, key=lambda each: (each.priority, -each.weight)):
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            for answer in await _async_ask(client, record.target, kind):
                server = Server(record.target, record.port)
                found.append(Found(server, ip_address(answer.address)))
    return found


async def _async_ask(client: Asker, name: dns.name.Name, kind: RdataType) -> list[Any]:
    answer = await client.async_exchange(dns.message.make_query(name, kind))
    return [rdata for rrset in answer.answer if rrset.rdtype == kind for rdata in rrset]
