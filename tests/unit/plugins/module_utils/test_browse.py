# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ipaddress import IPv6Address

import dns.name
import dns.rdatatype
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import browse, names
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record, Service
from ansible_collections.btmm.fleet.plugins.module_utils.update import NotAuthoritative
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.primary import SECRET, Primary, serving

ZONE = names.parse_zone("bob.members.example")
FLEET = [
    "_services._dns-sd._udp 4500 PTR _ssh._tcp",
    "_services._dns-sd._udp 4500 PTR _http._tcp",
    r"_ssh._tcp 4500 PTR Bob's\032iMac._ssh._tcp",
    r"_http._tcp 4500 PTR Bob's\032iMac._http._tcp",
    r"_http._tcp 4500 PTR mini._http._tcp",
    r"Bob's\032iMac._ssh._tcp 120 SRV 0 0 22 imac",
    r'Bob\'s\032iMac._ssh._tcp 4500 TXT ""'.replace(r"\'", "'"),
    r"Bob's\032iMac._http._tcp 120 SRV 0 0 80 imac",
    r"Bob's\032iMac._http._tcp 4500 TXT path=/x u=root",
    "mini._http._tcp 120 SRV 10 0 8080 elsewhere",
    "mini._http._tcp 120 SRV 0 0 80 MINI",
    "imac 120 AAAA fd12:3456:789a::1",
    r"Bob's\032iMac._device-info._tcp 4500 TXT model=iMac4,1",
    "_kerberos.imac 4500 TXT LKDC:SHA1.0011",
]


class Zone:
    """Answers from a list, and counts the rounds."""

    def __init__(self, *lines: str) -> None:
        self.records = [Record.from_text(line, ZONE) for line in lines]
        self.rounds: list[list[tuple[str, str]]] = []

    def zone_of(self, name: dns.name.Name) -> dns.name.Name:
        return ZONE

    def lookups(self, sets: object) -> list[list[Record]]:
        asked = list(sets)  # type: ignore[call-overload]
        self.rounds.append([(str(name), dns.rdatatype.to_text(kind)) for name, kind in asked])
        return [[r for r in self.records if (r.name, r.rdata.rdtype) == each] for each in asked]


IMAC = browse.FoundHost(
    label="imac",
    name=names.host_name("imac", ZONE),
    offers=(
        browse.Offer("Bob's iMac", Service("_http._tcp", 80, ("path=/x", "u=root"))),
        browse.Offer("Bob's iMac", Service("_ssh._tcp", 22)),
    ),
    ula=IPv6Address("fd12:3456:789a::1"),
    model="iMac4,1",
    realm="LKDC:SHA1.0011",
)
MINI = browse.FoundHost(
    label="mini", name=names.host_name("mini", ZONE), offers=(browse.Offer("mini", Service("_http._tcp", 80)),)
)


def test_hosts_are_found_with_all_that_the_zone_tells() -> None:
    zone = Zone(*FLEET)
    assert browse.browse(zone, ZONE) == browse.Found((IMAC, MINI), ())
    assert len(zone.rounds) == 4
    assert IMAC.title == "Bob's iMac"


def test_a_real_exchange_answers_the_same() -> None:
    key = dns.tsig.Key("macbook.bob.members.example.", SECRET, "hmac-sha256")
    with (
        serving(Primary(ZONE, FLEET, key)) as primary,
        Exchange(Server("127.0.0.1", primary.port, timeout_s=2), key) as exchange,
    ):
        assert browse.browse(exchange, ZONE) == browse.Found((IMAC, MINI), ())


def test_without_addresses_no_address_is_asked_for() -> None:
    zone = Zone(*FLEET)
    found = browse.browse(zone, ZONE, addresses=False)
    assert [host.ula for host in found.hosts] == [None, None]
    assert [host.model for host in found.hosts] == ["iMac4,1", None]
    assert not any(kind == "AAAA" for asked in zone.rounds for _, kind in asked)


def test_an_empty_zone_has_no_hosts() -> None:
    assert browse.browse(Zone(), ZONE) == browse.Found((), ())


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("_services._dns-sd._udp 60 PTR attacker.example.", "attacker.example. is no service type of"),
        ("_services._dns-sd._udp 60 PTR mini", "mini.bob.members.example. is no service type of"),
        ("_http._tcp 60 PTR x._http._tcp.attacker.example.", "x._http._tcp.attacker.example. is no instance of"),
        ("_http._tcp 60 PTR imac", "imac.bob.members.example. is no instance of"),
        ("_http._tcp 60 PTR ghost._http._tcp", "ghost._http._tcp.bob.members.example. has no SRV"),
        ("x._http._tcp 60 SRV 0 0 80 printer.lan.example.", "'printer.lan.example.' is not in"),
        ("x._http._tcp 60 SRV 0 0 80 .", "is not on a host of the zone"),
        ("x._http._tcp 60 SRV 0 0 80 @", "'bob.members.example.' is not in"),
        (r"x._http._tcp 60 SRV 0 0 80 {{}}", "must be 1 to 63 letters"),
    ],
)
def test_what_leads_nowhere_is_left_out_and_told(line: str, fault: str) -> None:
    more = ["_http._tcp 60 PTR x._http._tcp"] if line.startswith("x.") else []
    found = browse.browse(Zone(*FLEET, line, *more), ZONE)
    assert found.hosts == (IMAC, MINI)
    assert len(found.faults) == 1
    assert fault in found.faults[0]


def test_a_name_inside_a_zone_is_no_zone() -> None:
    with pytest.raises(NotAuthoritative, match="is not a zone"):
        browse.browse(Zone(), dns.name.from_text("imac", ZONE))


@given(st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=4), st.binary(max_size=255))
def test_whatever_strangers_write_is_a_host_or_a_fault(labels: list[bytes], text: bytes) -> None:
    instance = dns.name.Name((labels[0], *names.service_name("http", ZONE).labels))
    target = dns.name.Name((*labels[-2:], *ZONE.labels))
    zone = Zone("_services._dns-sd._udp 60 PTR _http._tcp")
    escaped = "".join(f"\\{octet:03}" for octet in text)
    zone.records += [
        Record.from_text(f"_http._tcp 60 PTR {instance}", ZONE),
        Record.from_text(f"{instance} 60 SRV 0 0 80 {target}", ZONE),
        Record.from_text(f'{instance} 60 TXT "{escaped}"', ZONE),
    ]
    found = browse.browse(zone, ZONE)
    assert len(found.hosts) + len(found.faults) == 1
