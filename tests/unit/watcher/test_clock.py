# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting by a clock that counts sleep, and what is made of a leap; the kernel's part is seen in the lab."""

from __future__ import annotations

import asyncio
import math
import os
import time
from pathlib import Path

import pytest

from watcher import clock


async def test_it_wakes_when_it_should() -> None:
    started = time.monotonic()
    await clock.async_sleep_until(clock.boottime() + 0.15)
    assert 0.15 <= time.monotonic() - started < 1


async def test_the_past_is_no_wait() -> None:
    async with asyncio.timeout(0.1):
        await clock.async_sleep_until(clock.boottime() - 5)


async def test_for_ever_is_long_and_can_be_cancelled_without_a_trace() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted only
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await clock.async_sleep_until(math.inf)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def kernels_view(descriptor: int) -> str:
    return Path(f"/proc/self/fdinfo/{descriptor}").read_text()


async def test_the_kernel_cancels_the_timer_when_the_time_of_day_is_set() -> None:
    """The clock can't be set here, but the kernel tells what it was asked for (proc(5): TFD_TIMER_ABSTIME is 1)."""
    watch = clock.Watch(lambda _: None)
    told = kernels_view(watch._timer.fd)
    watch.close()
    assert f"clockid: {time.CLOCK_REALTIME}\n" in told
    assert "settime flags: 03\n" in told  # TFD_TIMER_CANCEL_ON_SET is 2


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([(0.0, 3600.0)], [clock.Leap(0.0, 3600.0)]),
        ([(0.0, -5.0)], [clock.Leap(0.0, -5.0)]),
        ([(120.0, 120.0)], [clock.Leap(120.0, 120.0)]),
        ([(0.0, 0.5)], []),
        ([(0.0, 1.5), (0.0, 1.5)], [clock.Leap(0.0, 3.0)]),
    ],
)
async def test_a_leap_is_told(
    monkeypatch: pytest.MonkeyPatch, steps: list[tuple[float, float]], told: list[clock.Leap]
) -> None:
    slept, booted = 10.0, 1000.0
    monkeypatch.setattr(clock, "_offsets", lambda: (slept, booted))
    seen: list[clock.Leap] = []
    watch = clock.Watch(seen.append)
    for more, step in steps:
        slept, booted = slept + more, booted + step
        watch._fire()
    watch.close()
    assert seen == told
