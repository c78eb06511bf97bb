# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import dns.message
import dns.opcode
import dns.rcode
import dns.tsig
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, publication, records
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server, Unreachable
from ansible_collections.btmm.fleet.plugins.module_utils.publication import Wanted
from ansible_collections.btmm.fleet.plugins.module_utils.publisher import Outcome, publish, withdraw
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
from ansible_collections.btmm.fleet.plugins.module_utils.session import Session
from ansible_collections.btmm.fleet.plugins.module_utils.update import BadKey, UpdateRefused

from tests.unit.primary import SECRET, Primary, serving

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")
OUTER = records.Reach((records.Endpoint(IPv4Address("203.0.113.1"), 4500),))


def host(number: int, **more: Any) -> Wanted:
    described = {"zone": str(ZONE), "label": f"h{number}", "ula": f"fd12:3456:789a::{number + 1:x}", **more}
    made = records.host_from_config({"services": [{"type": "ssh", "port": 22}], **described})
    return Wanted(made.label, records.host_records(made, OUTER), made.label)


FLEET = [host(number) for number in range(20)]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def primary() -> Iterator[Primary]:
    with serving(Primary(ZONE, ["@ 60 NS ns"], KEY)) as started:
        yield started


def asking(primary: Primary, key: dns.tsig.Key = KEY) -> Session:
    return Session(lambda: Exchange(Server("127.0.0.1", primary.port, timeout_s=2), key))


def run(primary: Primary, hosts: list[Wanted] = FLEET, **options: Any) -> Outcome:
    with asking(primary) as open_session:
        return publish(open_session, ZONE, hosts, **options)


def published(primary: Primary) -> set[str]:
    return {label for line in primary.text() if (label := line.split()[0]).startswith("h") and "AAAA" in line}


def refuse(primary: Primary, monkeypatch: pytest.MonkeyPatch, code: dns.rcode.Rcode, *bad: str) -> None:
    """Have the primary answer with `code` to each message about a bad host."""

    def judge(message: dns.message.Message) -> dns.rcode.Rcode:
        assert isinstance(message, dns.update.UpdateMessage)
        there = {rrset.name.labels[0].decode() for rrset in message.update}
        return code if there & set(bad) else dns.rcode.NOERROR

    monkeypatch.setattr(primary, "judge", judge)


def test_a_fleet_is_one_message_and_nothing_the_second_time(primary: Primary) -> None:
    first = run(primary)
    assert (first.messages, len(first.changes), first.failed) == (1, 20, {})
    second = run(primary)
    assert (second.messages, second.changes, second.failed) == (0, {}, {})
    assert len(primary.updates) == 1


def test_check_mode_only_reads(primary: Primary) -> None:
    assert len(run(primary, check=True).changes) == 20
    assert not primary.updates


def test_messages_are_filled_to_the_limit(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication.pack, "__defaults__", (4000,))
    outcome = run(primary)
    assert outcome.messages > 3
    assert published(primary) == {each.host for each in FLEET}
    assert not run(primary).changes


@pytest.mark.parametrize("code", [dns.rcode.REFUSED, dns.rcode.FORMERR, dns.rcode.SERVFAIL])
def test_one_bad_host_never_fails_another(
    primary: Primary, monkeypatch: pytest.MonkeyPatch, code: dns.rcode.Rcode
) -> None:
    refuse(primary, monkeypatch, code, "h7", "h8", "h19")
    outcome = run(primary)
    assert set(outcome.failed) == {"h7", "h8", "h19"}
    assert dns.rcode.to_text(code) in outcome.failed["h7"]
    assert published(primary) == {each.host for each in FLEET} - set(outcome.failed) == set(outcome.changes)


def test_refusals_are_not_repeated_but_halved(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(primary, monkeypatch, dns.rcode.REFUSED, "h7")
    assert run(primary).messages == 1 + 2 + 2 + 2 + 2  # 20, then the halves of 20, 10, 5 and 3


def test_a_busy_server_is_asked_again(primary: Primary, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    answers = [dns.rcode.SERVFAIL, dns.rcode.SERVFAIL, dns.rcode.NOERROR]
    monkeypatch.setattr(primary, "judge", lambda _: answers.pop(0))
    outcome = run(primary)
    assert not outcome.failed
    assert outcome.messages == 3
    assert len(waits) == 2


def test_a_key_that_may_not_transfer_compares_by_queries(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "transfer", _refused)
    run(primary)
    assert not run(primary).changes
    assert published(primary) == {each.host for each in FLEET}


def _refused(*_: object) -> None:
    raise UpdateRefused("no transfer")


def test_an_unknown_key_fails_all_at_once(primary: Primary) -> None:
    other = dns.tsig.Key("other.", SECRET, "hmac-sha256")
    with pytest.raises((BadKey, Unreachable)), asking(primary, other) as open_session:
        publish(open_session, ZONE, FLEET)
    assert not primary.updates


def test_whoever_was_faster_is_seen(primary: Primary) -> None:
    run(primary, FLEET[:2])
    moved = Record.from_text("h1 120 AAAA fd12:3456:789a::99", ZONE)
    rivals = [moved]

    def overtake(_: dns.message.Message) -> None:
        if rivals:
            added = rivals.pop()
            primary.records = [
                r for r in primary.records if (r.name, r.rdata.rdtype) != (added.name, added.rdata.rdtype)
            ]
            primary.records.append(added)

    primary.before_update = overtake
    changed = host(1, ula="fd12:3456:789a::55")
    outcome = run(primary, [FLEET[0], changed], guarded=True)
    assert not outcome.failed
    assert outcome.messages == 2
    assert "h1 120 AAAA fd12:3456:789a::55" in primary.text()


def test_a_race_that_never_ends_is_one_hosts_failure(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(primary, monkeypatch, dns.rcode.NXRRSET, "h3")
    outcome = run(primary, guarded=True)
    assert set(outcome.failed) == {"h3"}
    assert published(primary) == {each.host for each in FLEET} - {"h3"}


def test_withdrawal_leaves_the_others(primary: Primary) -> None:
    run(primary)
    with asking(primary) as open_session:
        outcome = withdraw(open_session, ZONE, ["h1", "h2", "nobody"])
    assert set(outcome.changes) == {"h1", "h2"}
    assert published(primary) == {each.host for each in FLEET} - {"h1", "h2"}
    assert not [line for line in primary.text() if "h1." in line or "h2." in line]


def test_a_host_that_refreshes_meanwhile_is_withdrawn_all_the_same(primary: Primary) -> None:
    run(primary, FLEET[:2])
    renewed = [Record.from_text("_autotunnel._udp.h1 120 SRV 0 0 1234 AutoTunnel-00-00-00-00-00-00-00-02", ZONE)]

    def refresh(_: dns.message.Message) -> None:
        if renewed:
            new = renewed.pop()
            primary.records = [r for r in primary.records if r.name != new.name] + [new]

    primary.before_update = refresh
    with asking(primary) as open_session:
        withdraw(open_session, ZONE, ["h1"])
    assert published(primary) == {"h0"}
    assert not [line for line in primary.text() if "h1" in line]
