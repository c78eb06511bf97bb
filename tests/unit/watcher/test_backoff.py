# SPDX-License-Identifier: GPL-3.0-or-later
"""Soon for what passes, rarely for what does not, never all at once."""

from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import update

from watcher.backoff import Backoff, Occasions, Pace, is_final
from watcher.errors import PortMapError, ZoneServerError


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (ZoneServerError("away"), False),
        (update.ServerFailed("busy"), False),
        (update.UpdateRefused("no"), True),
        (update.BadKey("no"), True),
        (update.BadTime("no", 900), True),
        (PortMapError("no"), True),
    ],
)
def test_what_a_repeat_mends(error: Exception, final: bool) -> None:
    assert is_final(error) is final


@pytest.mark.parametrize(
    ("error", "waits"),
    [(ZoneServerError("away"), [1, 2, 4, 8, 16, 20, 20]), (PortMapError("no"), [15, 45, 135, 405, 900])],
)
def test_waits_grow_and_are_spread(error: Exception, waits: list[float]) -> None:
    backoff = Backoff()
    for wait in waits:
        assert 0.75 * wait <= backoff.next(error) <= 1.25 * wait
    backoff.reset()
    assert backoff.next(error) <= 1.25 * waits[0]


def test_what_a_gateway_asks_for_is_kept() -> None:
    assert 0.75 * 1800 <= Backoff().next(PortMapError("no", retry_after_s=1800)) <= 1.25 * 1800
    assert Backoff().next(PortMapError("no", retry_after_s=1)) >= 0.75 * 15


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_move_now_and_then_is_never_held_back() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(20):
        pace.change()
        assert pace.hold_s() == 0.0
        clock.now += 1.0


def test_a_network_that_flaps_is_told_once_it_keeps_still() -> None:
    clock = Clock()
    pace = Pace(clock)
    held = []
    for _ in range(50):
        pace.change()
        held.append(pace.hold_s())
        clock.now += 0.2
    assert held == [0.0] * 4 + [1.0] * 46
    clock.now += 0.5
    assert pace.hold_s() == pytest.approx(0.3)
    clock.now += 10
    assert pace.hold_s() == 0.0
    pace.change()
    assert pace.hold_s() == 0.0


def test_what_need_not_succeed_is_tried_ever_more_rarely() -> None:
    clock = Clock()
    occasions = Occasions(clock)
    waits = [5.0, 10, 20, 40, 80, 160, 300, 300]
    for wait in waits:
        assert occasions.is_due("imac")
        clock.now += wait - 0.1
        assert not occasions.is_due("imac")
        clock.now += 0.1
    assert occasions.is_due("imac")
    assert not occasions.is_due("imac")
    assert occasions.is_due("mini")
    occasions.renew("imac")
    assert occasions.is_due("imac")
    assert not occasions.is_due("mini")
    occasions.renew_all()
    assert occasions.is_due("mini")
