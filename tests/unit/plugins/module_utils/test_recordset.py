# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName
from ansible_collections.btmm.fleet.plugins.module_utils.records import InvalidRecord, Record
from ansible_collections.btmm.fleet.plugins.module_utils.recordset import RecordSet, zone_text

ZONE = names.parse_zone("bob.members.example")
DEFAULTS = {"ttl": 60, "rdata": [], "mode": "replace", "state": "present"}


def wanted(name: str, kind: str, *rdata: str, **options: object) -> RecordSet:
    return RecordSet.from_options({**DEFAULTS, "name": name, "type": kind, "rdata": rdata, **options}, ZONE)


def held(*lines: str) -> list[Record]:
    return [Record.from_text(line, ZONE) for line in lines]


def test_a_replaced_set_is_met_when_equal_in_ttl_and_data() -> None:
    each = wanted("a", "A", "1.2.3.4", "1.2.3.5")
    assert each.is_met(held("a 60 A 1.2.3.5", "a 60 A 1.2.3.4"))
    assert not each.is_met(held("a 60 A 1.2.3.4"))
    assert not each.is_met(held("a 61 A 1.2.3.4", "a 61 A 1.2.3.5"))
    assert not each.is_met([])


def test_a_merged_set_leaves_others_alone() -> None:
    each = wanted("_ssh._tcp", "PTR", r"Bob's\032iMac._ssh._tcp", mode="merge")
    others = held("_ssh._tcp 60 PTR other._ssh._tcp")
    assert not each.is_met(others)
    assert each.is_met(each.after(others))
    assert len(each.after(others)) == 2
    new, old = each.changes(others)
    assert [record.shared for record in new] == [True]
    assert old == ()


def test_absent_means_the_set_or_with_merge_the_rdata() -> None:
    both = held("a 60 TXT x", "a 60 TXT y")
    whole = wanted("a", "TXT", state="absent")
    assert not whole.is_met(both)
    assert whole.is_met([])
    assert [record.shared for record in whole.changes(both)[1]] == [False, False]
    one = wanted("a", "TXT", "x", mode="merge", state="absent")
    assert zone_text(one.after(both)) == 'a.bob.members.example. 60 IN TXT "y"\n'
    assert one.is_met(one.after(both))
    assert [record.shared for record in one.changes(both)[1]] == [True]


def test_names_are_below_the_zone_or_absolute() -> None:
    assert wanted("@", "A", "1.2.3.4").name == ZONE
    assert str(wanted("x.bob.members.example.", "A", "1.2.3.4")) == "x.bob.members.example. A"
    with pytest.raises(InvalidName, match="not in zone"):
        wanted("x.example.", "A", "1.2.3.4")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("a", "A"), {}),
        (("a", "A"), {"mode": "merge", "state": "absent"}),
        (("a", "WHAT", "1.2.3.4"), {}),
        (("a", "A", "::1"), {}),
        (("a", "TXT", "x" * 256), {}),
        (("a b", "A", "1.2.3.4"), {}),
        (("x" * 64, "A", "1.2.3.4"), {}),
    ],
)
def test_sets_that_cannot_be(arguments: tuple[str, ...], options: dict[str, str]) -> None:
    with pytest.raises(InvalidRecord):
        wanted(*arguments, **options)
