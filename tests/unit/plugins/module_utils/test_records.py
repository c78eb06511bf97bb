# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, records
from ansible_collections.btmm.fleet.plugins.module_utils.lease import Trace
from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName
from ansible_collections.btmm.fleet.plugins.module_utils.records import InvalidRecord, Record
from hypothesis import given
from hypothesis import strategies as st

CONFIG: dict[str, Any] = {
    "zone": "bob.members.example",
    "label": "imac",
    "title": "Bob's iMac",
    "ula": "fd12:3456:789a:0:1:2:3:4",
    "model": "iMac4,1",
    "services": [{"type": "afpovertcp", "port": 548}],
}
ZONE = names.parse_zone(CONFIG["zone"])
OUTER = records.Reach((records.Endpoint(IPv4Address("203.0.113.101"), 61234),))
TITLES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=15)


def host(**changes: object) -> records.Host:
    return records.host_from_config({**CONFIG, **changes})


def through_wire(record: Record) -> Record:
    message = dns.message.Message()
    message.answer.append(dns.rrset.from_rdata(record.name, record.ttl, record.rdata))
    rrset = dns.message.from_wire(message.to_wire()).answer[0]
    return Record(rrset.name, rrset.ttl, rrset[0], record.shared)


def test_a_host_publishes_the_records_of_the_slides_in_order() -> None:
    found = [record.to_text() for record in records.host_records(host(), OUTER)]
    target = "AutoTunnel-00-01-00-02-00-03-00-04.bob.members.example."
    assert found == [
        f"{target} 120 IN A 203.0.113.101",
        f"_autotunnel._udp.imac.bob.members.example. 120 IN SRV 10 0 61234 {target}",
        "imac.bob.members.example. 120 IN AAAA fd12:3456:789a:0:1:2:3:4",
        r"Bob's\032iMac._afpovertcp._tcp.bob.members.example. 120 IN SRV 0 0 548 imac.bob.members.example.",
        r"Bob's\032iMac._afpovertcp._tcp.bob.members.example. 4500 IN TXT " + '""',
        r"_afpovertcp._tcp.bob.members.example. 4500 IN PTR Bob's\032iMac._afpovertcp._tcp.bob.members.example.",
        "_services._dns-sd._udp.bob.members.example. 4500 IN PTR _afpovertcp._tcp.bob.members.example.",
        r"Bob's\032iMac._device-info._tcp.bob.members.example. 4500 IN TXT " + '"model=iMac4,1"',
    ]


def test_every_way_has_its_srv_and_the_addresses_come_first() -> None:
    server = names.host_name("zone", ZONE)
    reach = records.Reach(
        direct=(
            records.Endpoint(IPv4Address("203.0.113.101"), 61234),
            records.Endpoint(IPv6Address("2001:db8::5"), 4500),
        ),
        lan=records.Endpoint(IPv4Address("192.168.10.10"), 4500),
        mediators=(records.Server(server, 4500),),
        relays=(records.Server(server, 4501),),
    )
    target = "AutoTunnel-00-01-00-02-00-03-00-04"
    srv = "_autotunnel._udp.imac.bob.members.example. 120 IN SRV"
    assert [record.to_text() for record in records.host_records(host(model=None, services=[]), reach)] == [
        f"{target}.bob.members.example. 120 IN A 203.0.113.101",
        f"{target}-6.bob.members.example. 120 IN AAAA 2001:db8::5",
        f"{srv} 10 0 61234 {target}.bob.members.example.",
        f"{srv} 10 0 4500 {target}-6.bob.members.example.",
        f"{srv} 20 0 4500 zone.bob.members.example.",
        f"{srv} 30 0 4501 zone.bob.members.example.",
        f"{target}-lan.bob.members.example. 120 IN A 192.168.10.10",
        f"_autotunnel-lan._udp.imac.bob.members.example. 120 IN SRV 0 0 4500 {target}-lan.bob.members.example.",
        "imac.bob.members.example. 120 IN AAAA fd12:3456:789a:0:1:2:3:4",
    ]


@pytest.mark.parametrize("other", [(), (records.Endpoint(IPv4Address("203.0.113.101"), 4500),)])
def test_addresses_of_both_families_share_one_srv_when_the_port_is_one(other: tuple[records.Endpoint, ...]) -> None:
    reach = records.Reach(direct=(*other, records.Endpoint(IPv6Address("2001:db8::5"), 4500)))
    texts = [record.to_text() for record in records.host_records(host(model=None, services=[]), reach)]
    target = "AutoTunnel-00-01-00-02-00-03-00-04.bob.members.example."
    assert [text for text in texts if " SRV " in text] == [
        f"_autotunnel._udp.imac.bob.members.example. 120 IN SRV 10 0 4500 {target}"
    ]
    assert f"{target} 120 IN AAAA 2001:db8::5" in texts


def test_the_trace_of_a_lease_is_the_last_of_a_host() -> None:
    trace = Trace(datetime(2026, 11, 21, 8, 45, 2, tzinfo=UTC), 7200)
    *rest, last = records.host_records(host(), OUTER, trace)
    assert tuple(rest) == records.host_records(host(), OUTER)
    text = '_lease.imac.bob.members.example. 120 IN TXT "refreshed=2026-11-21T08:45:02Z" "lease=7200"'
    assert last.to_text() == text
    assert not last.shared


def test_pointers_at_service_names_are_shared_and_nothing_else() -> None:
    shared = {record.name.labels[0] for record in records.host_records(host(), OUTER) if record.shared}
    assert shared == {b"_afpovertcp", b"_services"}
    reverse = records.reverse_record(host())
    assert not reverse.shared
    assert not Record.from_text(reverse.to_text()).shared
    assert reverse.to_text() == (
        "4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa. 120 IN PTR imac.bob.members.example."
    )


def test_without_model_and_services_only_the_tunnel_is_published() -> None:
    assert len(records.host_records(host(model=None, services=[]), OUTER)) == 3


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"ula": "1.2.3.4"}, "not an IPv6 address"),
        ({"ula": ""}, "lacks ula"),
        ({"zone": None, "label": None}, "lacks zone, label"),
        ({"services": [{"type": "ssh"}]}, "needs a type and a port"),
        ({"services": ["ssh"]}, "needs a type and a port"),
        ({"services": [{"type": "ssh", "port": 0}]}, "not in 1 to 65535"),
        ({"services": [{"type": "ssh", "port": True}]}, "not in 1 to 65535"),
        ({"services": [{"type": "ssh", "port": 22, "txt": "a=b"}]}, "list of strings"),
        ({"services": [{"type": "ssh", "port": 22}, {"type": "_ssh._tcp", "port": 23}]}, "twice"),
        ({"services": [{"type": "ssh", "port": 22, "txt": ["x" * 256]}]}, "256 octets"),
        ({"model": "x" * 250}, "256 octets"),
        ({"model": "\ud800"}, "not Unicode"),
    ],
)
def test_a_host_that_cannot_be_is_told_in_one_sentence(changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(InvalidRecord, match=cause):
        host(**changes)


@pytest.mark.parametrize(
    "changes", [{"zone": "x"}, {"label": "a b"}, {"title": "x" * 64}, {"services": [{"type": "_x", "port": 1}]}]
)
def test_names_are_judged_by_the_rules_of_names(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidName):
        host(**changes)


def test_the_title_is_the_label_by_default() -> None:
    assert host(title=None).title == "imac"
    assert host(label="iMac", title="").title == "imac"


def test_txt_strings_are_octets_of_utf8() -> None:
    assert list(records.txt_rdata([]).strings) == [b""]
    assert list(records.txt_rdata(["a=ü", ""]).strings) == ["a=ü".encode(), b""]
    assert len(records.txt_rdata(["x" * 255]).strings[0]) == 255


def test_utf8_in_text_is_not_taken_for_idna() -> None:
    record = Record.from_text(r"Bjørn\032X._ssh._tcp 60 PTR Ü.x", ZONE)
    assert record.name.labels[0] == "Bjørn X".encode()
    assert record.rdata == Record.from_text(r"a. 1 PTR \195\156.x", ZONE).rdata


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.",
        "a. 60",
        "a. x A 1.2.3.4",
        "a. 60 A",
        "a. 60 A ::1",
        "a. 60 WHAT 1",
        "a 60 A 1.2.3.4",
        "a. 60 A 1.2.3.4 5",
    ],
)
def test_texts_that_are_no_record(text: str) -> None:
    with pytest.raises(InvalidRecord, match="is not a record"):
        Record.from_text(text)


@given(st.text(max_size=60))
def test_any_text_gives_a_record_or_a_sentence(text: str) -> None:
    for line in (text, f"a 60 TXT {text}", f"{text} 60 A 1.2.3.4"):
        try:
            record = Record.from_text(line, ZONE)
        except InvalidRecord:
            continue
        assert Record.from_text(record.to_text()) == record


@given(TITLES, st.lists(st.text(max_size=40), max_size=4), st.text(min_size=1, max_size=30))
def test_records_survive_text_and_wire(title: str, txt: list[str], model: str) -> None:
    described = host(title=title, services=[{"type": "ssh", "port": 22, "txt": txt}], model=model)
    for record in (*records.host_records(described, OUTER), records.reverse_record(described)):
        assert Record.from_text(record.to_text()) == record
        assert through_wire(record) == record
