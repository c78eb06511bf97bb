# SPDX-License-Identifier: GPL-3.0-or-later
"""The token bucket, by a clock of our own."""

from __future__ import annotations

from relay.limits import Bucket


def test_a_burst_then_the_rate() -> None:
    now = [100.0]
    bucket = Bucket(rate=2.0, burst=3.0, clock=lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now[0] += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_it_never_holds_more_than_a_burst() -> None:
    now = [0.0]
    bucket = Bucket(rate=1000.0, burst=2.0, clock=lambda: now[0])
    now[0] += 3600
    assert not bucket.take(2.5)
    assert bucket.take(2.0)
