# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, records
from ansible_collections.btmm.fleet.plugins.module_utils.ownership import Content
from ansible_collections.btmm.fleet.plugins.module_utils.publication import (
    MESSAGE_SIZE,
    Change,
    Wanted,
    pack,
    plan,
    plan_withdrawal,
)
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
from ansible_collections.btmm.fleet.plugins.module_utils.update import change
from hypothesis import given, settings
from hypothesis import strategies as st

ZONE = names.parse_zone("bob.members.example")
OUTER = records.Reach((records.Endpoint(IPv4Address("203.0.113.1"), 4500),))


def host(label: str, number: int = 1, **more: Any) -> Wanted:
    described = {"zone": str(ZONE), "label": label, "ula": f"fd12:3456:789a::{number:x}", **more}
    made = records.host_from_config({"services": [{"type": "ssh", "port": 22}], "model": "Mac", **described})
    return Wanted(label, records.host_records(made, OUTER), label)


def content(*parts: Wanted, lines: tuple[str, ...] = ()) -> Content:
    held = [record for part in parts for record in part.records]
    texts = ("@ 60 SOA ns hostmaster 1 2 3 4 5", "@ 60 NS ns", *lines)
    return Content(ZONE, dict.fromkeys((*held, *(Record.from_text(text, ZONE) for text in texts))))


def texts(found: list[Record]) -> set[str]:
    return {f"{r.name.relativize(ZONE)} {r.rdata.to_text(origin=ZONE, relativize=True)}" for r in found}


IMAC = host("imac", 1, title="Bob's iMac")
MINI = host("mini", 2)


def test_an_empty_zone_lacks_everything_and_a_full_one_nothing() -> None:
    changes, refused = plan(content(), [IMAC, MINI])
    assert [set(each.wanted) for each in changes] == [set(IMAC.records), set(MINI.records)]
    assert plan(content(IMAC, MINI), [IMAC, MINI]) == ([], {})
    assert not refused


def test_only_what_differs_is_sent() -> None:
    moved = replace(IMAC, records=(Record.from_text("imac 120 AAAA fd12:3456:789a::9", ZONE), *IMAC.records[3:]))
    moved = replace(moved, label=None)
    (each,), _ = plan(content(IMAC), [moved])
    assert texts(each.wanted) == {"imac fd12:3456:789a::9"}
    assert texts(each.before) == {"imac fd12:3456:789a::1"}
    assert each.previous == []


def test_a_wrong_ttl_is_a_difference_also_in_a_shared_set() -> None:
    pointer = next(record for record in IMAC.records if record.shared)
    there = content(replace(IMAC, records=tuple(r if r != pointer else replace(r, ttl=1) for r in IMAC.records)))
    (each,), _ = plan(there, [IMAC])
    assert each.wanted == [pointer]


def test_a_former_title_and_a_service_given_up_are_withdrawn() -> None:
    former = host("imac", 1, title="Old", services=[{"type": "ssh", "port": 22}, {"type": "http", "port": 80}])
    lease = ("_lease.imac 120 TXT x", "imac 60 A 192.0.2.1")
    (each,), _ = plan(content(former, MINI, lines=lease), [IMAC])
    assert texts(each.previous) == {
        "Old._ssh._tcp 0 0 22 imac",
        'Old._ssh._tcp ""',
        "_ssh._tcp Old._ssh._tcp",
        "Old._http._tcp 0 0 80 imac",
        'Old._http._tcp ""',
        "_http._tcp Old._http._tcp",
        'Old._device-info._tcp "model=Mac"',
    }


def test_a_title_that_moves_to_another_host_of_the_call_is_not_taken_away_again() -> None:
    there = content(host("imac", 1, title="A", services=[]))
    changes, refused = plan(there, [host("imac", 1, title="B", services=[]), host("mini", 2, title="A", services=[])])
    assert not refused
    assert all(record.name.labels[0] != b"A" for each in changes for record in each.previous)


def test_who_comes_second_is_told_whose_name_it_is() -> None:
    changes, refused = plan(content(), [IMAC, host("mini", 2, title="Bob's iMac")])
    assert [each.host for each in changes] == ["imac"]
    assert "which is imac's" in refused["mini"]


def test_an_instance_of_a_host_that_is_not_in_the_call_is_not_taken_over() -> None:
    changes, refused = plan(content(IMAC), [host("thief", 9, title="Bob's iMac"), MINI])
    assert [each.host for each in changes] == ["mini"]
    assert "points to imac.bob.members.example." in refused["thief"]


def test_a_signed_zone_has_records_that_nobody_withdraws() -> None:
    signature = "A 13 5 120 20300101000000 20200101000000 1 bob.members.example. AAAA"
    there = content(IMAC, lines=(f"x.imac 120 RRSIG {signature}", "Bob's\\032iMac._ssh._tcp 60 NSEC imac SRV"))
    assert plan(there, [IMAC]) == ([], {})
    (each,) = plan_withdrawal(there, ["imac"])
    assert set(each.previous) == set(IMAC.records)


def test_a_host_too_large_for_a_message_is_told_and_alone() -> None:
    large = Wanted("large", tuple(Record.from_text(f"r{n} 60 TXT {'x' * 250}", ZONE) for n in range(300)))
    changes, refused = plan(content(), [large, MINI])
    assert [each.host for each in changes] == ["mini"]
    assert f"takes {MESSAGE_SIZE}" in refused["large"]


def test_withdrawal_takes_a_type_with_its_last_host() -> None:
    first, last = plan_withdrawal(content(IMAC, MINI), ["imac", "mini", "nobody"])
    enumeration = names.enumeration_name(ZONE)
    assert all(record.name != enumeration for record in first.previous)
    assert any(record.name == enumeration for record in last.previous)


@given(st.lists(st.integers(1, 100)), st.integers(100, 300))
def test_hosts_are_packed_in_order_and_never_over_the_limit(sizes: list[int], limit: int) -> None:
    changes = [Change(str(number), size=size) for number, size in enumerate(sizes)]
    batches = list(pack(changes, limit))
    assert [each for batch in batches for each in batch] == changes
    assert all(sum(each.size for each in batch) <= limit for batch in batches)
    for batch, following in itertools.pairwise(batches):
        assert sum(each.size for each in (*batch, following[0])) > limit


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=15),
            st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=60), max_size=4),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda pair: pair[0].lower(),
    )
)
def test_sizes_are_never_less_than_the_octets_on_the_wire(hosts: list[tuple[str, list[str]]]) -> None:
    parts = [
        host(f"h{number}", number + 1, title=title, services=[{"type": "ssh", "port": 22, "txt": txt}])
        for number, (title, txt) in enumerate(hosts)
    ]
    for there in (content(), content(*parts)):
        wishes = parts if len(there.records) == 2 else [replace(part, records=part.records[:3]) for part in parts]
        changes, _ = plan(there, wishes)
        message = change(ZONE, [r for c in changes for r in c.wanted], [r for c in changes for r in c.previous])
        overhead = 12 + len(ZONE.to_wire() or b"") + 4
        assert len(message.to_wire()) <= overhead + sum(each.size for each in changes)


@pytest.mark.parametrize("count", [40, 150])
def test_what_is_packed_fits_in_a_message(count: int) -> None:
    changes, _ = plan(content(), [host(f"host-{n}", n + 1, title=f"Bob's host {n}") for n in range(count)])
    for batch in pack(changes):
        message = change(ZONE, [record for each in batch for record in each.wanted])
        assert len(message.to_wire(max_size=65535)) < 65535 - 300
