# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subscriber holds, change by change."""

from __future__ import annotations

import time

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


def following(*questions: Question) -> View:
    view = View()
    view.follow(questions)
    return view


def test_only_what_is_different_is_told() -> None:
    view = following(*ALL)
    assert view.apply([added(ONE), added(ONE), added(ONE, 90)]) == [added(ONE), added(ONE, 90)]
    assert view.apply([removed(TWO)]) == []
    assert view.apply([removed(ONE), removed(ONE)]) == [removed(ONE)]
    assert list(view) == []


def test_collective_removals_are_told_one_by_one() -> None:
    view = following(*ALL)
    view.apply([added(ONE), added(TWO), added(TEXT), added(ONE, name=OTHER)])
    told = view.apply([Change(NAME, 1, REMOVE_ALL)])
    assert sorted(str(change.rdata) for change in told) == ["192.0.2.1", "192.0.2.2"]
    assert view.apply([Change(NAME, ANY, REMOVE_ALL, rdclass=3)]) == []
    assert view.apply([Change(NAME, ANY, REMOVE_ALL)]) == [removed(TEXT)]
    assert view.apply([Change(OTHER, ANY, REMOVE_ALL, rdclass=ANY)]) == [removed(ONE, OTHER)]


def test_what_nobody_asked_for_is_ignored() -> None:
    view = following(Question(NAME, 16))
    assert view.apply([added(ONE), added(TEXT), added(TEXT, name=OTHER)]) == [added(TEXT)]
    view.follow([Question(NAME, ANY)])
    assert list(view) == [added(TEXT)]
    view.follow([Question(NAME, 1)])
    assert list(view) == []


def test_a_new_session_tells_what_went_away_meanwhile() -> None:
    view = following(*ALL)
    view.apply([added(ONE), added(TWO)])
    view.doubt()
    assert view.apply([added(TWO)]) == []
    assert view.settle() == [removed(ONE)]
    assert view.settle() == []


def test_a_name_is_the_same_in_any_case() -> None:
    view = following(Question(dns.name.from_text("IMAC.Example"), 1))
    view.apply([added(ONE)])
    assert view.apply([removed(ONE, dns.name.from_text("Imac.example"))]) == [removed(ONE)]


def test_thousands_of_questions_take_no_square_of_the_time() -> None:
    names = [dns.name.from_text(f"h{number}.example") for number in range(5_000)]
    changes = [added(TEXT, name=name) for name in names]
    view = following(*(Question(name, 16) for name in names))
    begun = time.process_time()
    assert len(view.apply(changes)) == len(names)
    view.follow([Question(name, 16) for name in names[::2]])
    view.doubt()
    assert len(view.settle()) == len(names) // 2
    assert time.process_time() - begun < 5  # each against each takes many times that
