# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subscriber holds, change by change."""

from __future__ import annotations

import dns.name
import dns.rdata
from ansible_collections.btmm.fleet.plugins.module_utils.push import ANY, REMOVE, REMOVE_ALL, Change, Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_view import View

NAME = dns.name.from_text("imac.example")
OTHER = dns.name.from_text("mini.example")
ALL = [Question(NAME, ANY), Question(OTHER, ANY)]
ONE, TWO = (dns.rdata.from_text("IN", "A", f"192.0.2.{number}") for number in (1, 2))
TEXT = dns.rdata.from_text("IN", "TXT", "x")


def added(rdata: dns.rdata.Rdata, ttl: int = 60, name: dns.name.Name = NAME) -> Change:
    return Change(name, rdata.rdtype, ttl, rdata)


def removed(rdata: dns.rdata.Rdata, name: dns.name.Name = NAME) -> Change:
    return Change(name, rdata.rdtype, REMOVE, rdata)


def test_only_what_is_different_is_told() -> None:
    view = View()
    assert view.apply([added(ONE), added(ONE), added(ONE, 90)], ALL) == [added(ONE), added(ONE, 90)]
    assert view.apply([removed(TWO)], ALL) == []
    assert view.apply([removed(ONE), removed(ONE)], ALL) == [removed(ONE)]
    assert list(view) == []


def test_collective_removals_are_told_one_by_one() -> None:
    view = View()
    view.apply([added(ONE), added(TWO), added(TEXT), added(ONE, name=OTHER)], ALL)
    told = view.apply([Change(NAME, 1, REMOVE_ALL)], ALL)
    assert sorted(str(change.rdata) for change in told) == ["192.0.2.1", "192.0.2.2"]
    assert view.apply([Change(NAME, ANY, REMOVE_ALL, rdclass=3)], ALL) == []
    assert view.apply([Change(NAME, ANY, REMOVE_ALL)], ALL) == [removed(TEXT)]
    assert view.apply([Change(OTHER, ANY, REMOVE_ALL, rdclass=ANY)], ALL) == [removed(ONE, OTHER)]


def test_what_nobody_asked_for_is_ignored() -> None:
    view = View()
    assert view.apply([added(ONE), added(TEXT)], [Question(NAME, 16)]) == [added(TEXT)]
    view.forget(Question(NAME, 16), [Question(NAME, ANY)])
    assert list(view) == [added(TEXT)]
    view.forget(Question(NAME, 16), [Question(NAME, 1)])
    assert list(view) == []


def test_a_new_session_tells_what_went_away_meanwhile() -> None:
    view = View()
    view.apply([added(ONE), added(TWO)], ALL)
    view.doubt()
    assert view.apply([added(TWO)], ALL) == []
    assert view.settle() == [removed(ONE)]
    assert view.settle() == []
