# SPDX-License-Identifier: GPL-3.0-or-later
"""Soon for what passes, rarely for what does not, never all at once."""

from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import update

from watcher.backoff import Backoff, is_final
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
    [(ZoneServerError("away"), [1, 2, 4, 8, 16, 32, 60, 60]), (PortMapError("no"), [15, 45, 135, 405, 900])],
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
