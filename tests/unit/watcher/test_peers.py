# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ways to a peer follow from the zone's records, and in which order."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import dns.message
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.names import host_name, parse_zone
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Reach, Record, Server, host_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.peers import Locator, Vantage, ways
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from dns.message import Message

    from watcher.config import Config

RELAY = Server(host_name("zone", parse_zone("bob.members.example")), 4500)
OUTER = Endpoint(IPv4Address("203.0.113.101"), 41500)
OUTER6 = Endpoint(IPv6Address("2001:db8:1::5"), 4500)
LAN = Endpoint(IPv4Address("192.168.10.10"), 4500)
ALL = Reach((OUTER, OUTER6), LAN, (RELAY,), (RELAY,))
HOME = Uplink(
    IPv4Address("192.168.10.20"),
    IPv4Address("192.168.10.1"),
    IPv6Address("2001:db8:1::20"),
    "eth0",
    (IPv4Network("192.168.10.0/24"),),
)
AWAY = Uplink(IPv4Address("192.168.20.10"), IPv4Address("192.168.20.1"))
ONLY6 = Uplink(None, None, IPv6Address("2001:db8:2::20"))


@pytest.mark.parametrize(
    ("vantage", "rungs"),
    [
        (Vantage(HOME, OUTER.address), ["lan", "direct6", "direct", "mediated", "relayed"]),  # type: ignore[arg-type]
        # Another LAN with the same numbers, behind another NAT.
        (Vantage(HOME, IPv4Address("203.0.113.102")), ["direct6", "direct", "mediated", "relayed"]),
        # Just arrived, without a mapping yet: it may be the same one.
        (Vantage(HOME), ["lan", "direct6", "direct", "mediated", "relayed"]),
        (Vantage(AWAY), ["direct", "mediated", "relayed"]),
        (Vantage(ONLY6), ["direct6", "mediated", "relayed"]),
        (Vantage(None), []),
    ],
)
def test_the_ways_from_here_best_first(vantage: Vantage, rungs: list[str]) -> None:
    assert [way.rung for way in ways(ALL, vantage)] == rungs


class Zone:
    """Holds the records of one host, as they are published."""

    def __init__(self, config: Config, reach: Reach) -> None:
        self.records = host_records(config.host, reach)
        self.asked: list[tuple[str, str]] = []

    async def async_exchange(self, message: Message) -> Message:
        question = message.question[0]
        self.asked.append((str(question.name), dns.rdatatype.to_text(question.rdtype)))
        answer = dns.message.make_response(message)
        held = [r.rdata for r in self.records if (r.name, r.rdata.rdtype) == (question.name, question.rdtype)]
        if held:
            answer.answer.append(dns.rrset.from_rdata_list(question.name, 120, held))
        return answer


ENDPOINTS4 = st.builds(Endpoint, st.ip_addresses(v=4), st.integers(1, 65535))
ENDPOINTS6 = st.builds(Endpoint, st.ip_addresses(v=6), st.integers(1, 65535))
SERVERS = st.lists(st.just(RELAY), max_size=1).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reach=st.builds(
        Reach,
        direct=st.tuples(st.lists(ENDPOINTS4, max_size=1), st.lists(ENDPOINTS6, max_size=1)).map(
            lambda both: (*both[0], *both[1])
        ),
        lan=st.none() | ENDPOINTS4,
        mediators=SERVERS,
        relays=SERVERS,
    )
)
def test_what_is_published_is_what_is_read(config: Config, reach: Reach) -> None:
    locator = Locator(config, Zone(config, reach))
    located = asyncio.run(locator.async_locate(config.host.label))
    assert located.reach == reach


async def test_other_implementations_write_priority_0(config: Config) -> None:
    """Apple's hosts had one SRV with priority and weight 0 (RFC 6281 section 3)."""
    zone = Zone(config, Reach((OUTER,)))
    zone.records = tuple(
        Record(r.name, r.ttl, dns.rdata.from_text("IN", "SRV", r.rdata.to_text().replace("10 0 ", "0 0 ", 1)))
        if r.rdata.rdtype == dns.rdatatype.SRV
        else r
        for r in zone.records
    )
    located = await Locator(config, zone).async_locate(config.host.label)
    assert located.reach == Reach((OUTER,))


async def test_what_said_so_is_what_is_followed(config: Config) -> None:
    zone = Zone(config, Reach((OUTER,), LAN))
    located = await Locator(config, zone).async_locate(config.host.label)
    assert {(str(name), dns.rdatatype.to_text(rdtype)) for name, rdtype in located.sets} == set(zone.asked)


async def test_a_host_without_records_has_no_ways(config: Config) -> None:
    zone = Zone(config, Reach())
    locator = Locator(config, zone, lambda: Vantage(HOME))
    await locator.async_locate("nobody")
    assert not locator.peer("nobody", IPv6Address("fd12:3456:789a::9")).ways
    assert locator.label_of("imac.bob.members.example") == "imac"
    assert locator.label_of("imac.eve.members.example") is None
