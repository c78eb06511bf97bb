# SPDX-License-Identifier: GPL-3.0-or-later
"""A zone's content: steps and whole zones lead to the same, and what is told is exactly the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.name
import dns.rdata
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.content import Content, Step
from notifier.errors import BadTransferError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifier.content import Change, Record

ZONE = dns.name.from_text("bob.members.example.")
State = dict[tuple[str, str, str], int]  # (name, type, data) to TTL, which is one for all data of a name and type


def record(name: str, rdtype: str, data: str, ttl: int) -> Record:
    return dns.name.from_text(name, ZONE), ttl, dns.rdata.from_text("IN", rdtype, data)


def records(state: State) -> list[Record]:
    return [record(*key, ttl) for key, ttl in state.items()]


def state_of(content: Content) -> State:
    return {
        (str(each.name.relativize(ZONE)), each.rdtype.name, str(rdata)): each.ttl
        for each in content
        for rdata in each.rdatas
    }


def follow(state: State, changes: Iterable[Change]) -> State:
    """Do what a subscriber does who is told."""
    state = dict(state)
    for change in changes:
        name, rdtype = str(change.name.relativize(ZONE)), change.rdtype.name
        for rdata in change.removed:
            del state[name, rdtype, str(rdata)]
        for rdata in change.added:
            state[name, rdtype, str(rdata)] = change.ttl
    return state


def step(before: State, after: State, serial: int = 1) -> Step:
    """As a journal has it: an RRset whose TTL changes goes, and comes again."""
    removed = [record(*key, ttl) for key, ttl in before.items() if after.get(key) != ttl]
    added = [record(*key, ttl) for key, ttl in after.items() if before.get(key) != ttl]
    return Step(serial, serial + 1, tuple(removed), tuple(added))


@st.composite
def states(draw: st.DrawFn) -> State:
    ttls = {(name, rdtype): draw(st.sampled_from([60, 120])) for name in ("a", "b", "A.b") for rdtype in ("A", "TXT")}
    data = {"A": ["192.0.2.1", "192.0.2.2"], "TXT": ['"one"', '"two"', '"three"']}
    keys = [(name, rdtype, each) for name, rdtype in ttls for each in data[rdtype]]
    return {key: ttls[key[:2]] for key in draw(st.lists(st.sampled_from(keys), unique=True))}


@given(states(), states())
def test_a_step_leads_to_what_is_there_afterwards(before: State, after: State) -> None:
    content = Content(1, records(before))
    changes = content.apply(step(before, after))
    assert state_of(content) == after
    assert follow(before, changes) == after
    assert len({(change.name, change.rdtype) for change in changes}) == len(changes)
    assert all(change.added or change.removed for change in changes)
    assert content.serial == 2


@given(states(), states())
def test_so_does_a_whole_zone(before: State, after: State) -> None:
    newer = Content(2, records(after))
    changes = Content(1, records(before)).difference(newer)
    assert follow(before, changes) == after
    assert before != after or changes == ()


@given(states(), states())
def test_what_does_not_fit_changes_nothing(before: State, other: State) -> None:
    content = Content(1, records(before))
    for key, ttl in other.items():
        removed, added = ((), (record(*key, ttl),)) if key in before else ((record(*key, ttl),), ())
        with pytest.raises(BadTransferError):
            content.apply(Step(1, 2, removed, added))
    with pytest.raises(BadTransferError):
        content.apply(Step(5, 6, (), ()))
    assert state_of(content) == before
    assert content.serial == 1


def test_names_are_kept_as_they_are_written_and_found_in_any_case() -> None:
    content = Content(1, [record("_ssh._tcp", "PTR", r"Bob\'s\032iMac._ssh._tcp.bob.members.example.", 60)])
    (found,) = content.lookup(dns.name.from_text("_SSH._tcp", ZONE), dns.rdatatype.PTR)
    assert "iMac" in str(found.rdatas[0])
    gone = record("_ssh._tcp", "PTR", r"bob\'s\032imac._ssh._tcp.bob.members.example.", 60)
    (change,) = content.apply(Step(1, 2, (gone,), ()))
    assert change.removed
    assert content.lookup(found.name, dns.rdatatype.ANY) == ()


def test_what_signing_adds_is_not_kept() -> None:
    made = record("a", "NSEC", "b.bob.members.example. A RRSIG NSEC", 60)
    content = Content(1, [made, record("a", "A", "192.0.2.1", 60)])
    assert [each.rdtype.name for each in content.lookup(made[0], dns.rdatatype.ANY)] == ["A"]
    assert content.apply(Step(1, 2, (made,), ())) == ()
    assert content.serial == 2
