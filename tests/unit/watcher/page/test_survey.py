# SPDX-License-Identifier: GPL-3.0-or-later
"""What is followed leads to what is followed next, until the hosts are known; what they say becomes what is shown."""

from __future__ import annotations

from typing import Any

import dns.name
import dns.rdata
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.push import REMOVE, Change, Question
from dns.rdatatype import RdataType

from watcher.page.document import describe
from watcher.page.survey import Held

ZONE = dns.name.from_text("bob.members.example")
TITLE = r"Bob's\032iMac"
RECORDS = (
    ("_services._dns-sd._udp", "PTR", f"_ssh._tcp.{ZONE}"),
    ("_ssh._tcp", "PTR", rf"{TITLE}._ssh._tcp.{ZONE}"),
    (f"{TITLE}._ssh._tcp", "SRV", f"0 0 22 imac.{ZONE}"),
    (f"{TITLE}._ssh._tcp", "TXT", '""'),
    (f"{TITLE}._device-info._tcp", "TXT", r'"model=iMac4\0441"'),
    ("_autotunnel._udp.imac", "SRV", f"20 0 4501 zone.{ZONE}"),
    ("_autotunnel._udp.imac", "SRV", f"30 0 4501 zone.{ZONE}"),
    ("_lease.imac", "TXT", '"refreshed=2026-11-21T17:58:42Z" "lease=7200"'),
)


def change(name: str, kind: str, text: str, ttl: int = 60) -> Change:
    rdtype = RdataType[kind]
    return Change(dns.name.from_text(name, ZONE), int(rdtype), ttl, dns.rdata.from_text("IN", kind, text))


def learned(held: Held) -> list[dict[str, Any]]:
    """Follow what is asked for until nothing new is, as a server with RECORDS would answer."""
    asked: set[Question] = set()
    while True:
        hosts, questions = held.survey()
        if not set(questions) - asked:
            return describe(hosts, None)
        for record in RECORDS:
            told = change(*record)
            if any(told.concerns(question) and question not in asked for question in questions):
                held.take([told])
        asked |= set(questions)


def test_a_host_is_found_round_by_round() -> None:
    (host,) = learned(Held(ZONE))
    assert (host["name"], host["title"], host["model"], host["icon"]) == (
        "imac.bob.members.example",
        "Bob's iMac",
        "iMac4,1",
        "all-in-one",
    )
    assert (host["state"], host["rung"], host["outer"]) == ("idle", "mediated", None)
    assert host["seen"] == "2026-11-21T17:58:42+00:00"
    assert [(service["label"], service["title"], service["url"]) for service in host["services"]] == [
        ("Terminal", None, "ssh://imac.bob.members.example")
    ]


def test_no_address_is_asked_for_since_that_would_open_a_tunnel() -> None:
    held = Held(ZONE)
    learned(held)
    assert not {question.rdtype for question in held.survey()[1]} & {RdataType.A, RdataType.AAAA}


def test_what_goes_is_shown_no_more_and_not_remembered() -> None:
    held = Held(ZONE)
    learned(held)
    gone = [change(*record, ttl=REMOVE) for record in RECORDS[:1]]
    held.take(gone)
    assert [question.name for question in held.survey()[1]] == [gone[0].name]
    held.take([change(*RECORDS[0])])
    assert held.survey()[0] == []  # the type is back; its instances are asked for anew


@pytest.mark.parametrize(
    ("missing", "key", "expected"),
    [("_autotunnel._udp.imac", "state", "unreachable"), ("_lease.imac", "seen", None), ("_device", "model", None)],
)
def test_what_a_host_does_not_say(missing: str, key: str, expected: str | None) -> None:
    held = Held(ZONE)
    learned(held)
    held.take([change(*record, ttl=REMOVE) for record in RECORDS if missing in record[0]])
    assert describe(held.survey()[0], None)[0][key] == expected


def test_a_trace_that_is_none_is_no_sign_of_life() -> None:
    held = Held(ZONE)
    learned(held)
    held.take([change(*RECORDS[-1], ttl=REMOVE), change("_lease.imac", "TXT", '"refreshed=yesterday"')])
    assert describe(held.survey()[0], None)[0]["seen"] is None


def test_the_daemon_adds_the_tunnels_and_this_host() -> None:
    held = Held(ZONE)
    learned(held)
    peer = {"name": "imac.bob.members.example", "outer": "203.0.113.101:4500", "rung": "direct"}
    silent = {"name": "cube.bob.members.example", "outer": "203.0.113.10:40001", "rung": "relayed"}
    status = {"host": "macbook.bob.members.example", "outer": None, "rung": "relayed", "peers": [peer, silent]}
    hosts = describe(held.survey()[0], status)
    assert [(host["title"], host["state"], host["rung"], host["outer"]) for host in hosts] == [
        ("Bob's iMac", "tunnel", "direct", "203.0.113.101:4500"),
        ("cube", "tunnel", "relayed", "203.0.113.10:40001"),
        ("macbook", "here", "relayed", None),
    ]
