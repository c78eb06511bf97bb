# SPDX-License-Identifier: GPL-3.0-or-later
"""Time that goes on while the host sleeps: waiting by it, and being told when it or the time of day took a leap."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# timerfd_create(2). Python's own comes with 3.13 only.
_ABSTIME = 1
_CANCEL_ON_SET = 2
_libc = ctypes.CDLL(None, use_errno=True)

_FAR_S = 1 << 32  # for ever; as a time of day, the year 2106

# Seconds. A resume or a step of less than this changes nothing that is kept here (NTP slews, TSIG allows 300).
LEAP_S = 2.0


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


def boottime() -> float:
    """Seconds since boot with those asleep (clock_gettime(2)): the clocks of gateways and servers go on, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def async_sleep_until(when_s: float) -> None:
    """Return at `when_s` of `boottime`; asyncio.sleep would stand still while the host does."""
    if when_s <= boottime():
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    timer = _Timer(time.CLOCK_BOOTTIME, min(when_s, _FAR_S))
    loop.add_reader(timer.fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(timer.fd)
        os.close(timer.fd)


@dataclass(frozen=True, slots=True)
class Leap:
    """Seconds for which the host slept, and by which the time of day was set (forward is positive)."""

    slept_s: float
    set_s: float


class Watch:
    """Calls `leapt` after a suspend and after a step of the time of day; between them it costs no wake-up."""

    def __init__(self, leapt: Callable[[Leap], None]) -> None:
        self._leapt = leapt
        self._loop = asyncio.get_running_loop()
        self._seen = _offsets()
        # The kernel cancels such a timer when the clock is set, and when it resumes from suspend (fs/timerfd.c).
        self._timer = _Timer(time.CLOCK_REALTIME, _FAR_S, _CANCEL_ON_SET)
        self._loop.add_reader(self._timer.fd, self._fire)

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._timer.fd)
        os.close(self._timer.fd)

    def _fire(self) -> None:
        with contextlib.suppress(OSError):  # ECANCELED is the message
            os.read(self._timer.fd, 8)
        self._timer.set(_FAR_S)
        before, self._seen = self._seen, _offsets()
        leap = Leap(self._seen[0] - before[0], self._seen[1] - before[1])
        if leap.slept_s >= LEAP_S or abs(leap.set_s) >= LEAP_S:
            self._leapt(leap)
        else:
            self._seen = before  # many small steps are a large one


class _Timer:
    def __init__(self, clock: int, when_s: float, flags: int = 0) -> None:
        self._flags = _ABSTIME | flags
        self.fd = _libc.timerfd_create(clock, os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        try:
            self.set(when_s)
        except OSError:
            os.close(self.fd)
            raise

    def set(self, when_s: float) -> None:
        whole, rest = divmod(when_s, 1)
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(int(whole), int(rest * 1e9)))
        # ECANCELED: the clock was set since; the timer runs all the same (timerfd_create(2)).
        if (
            _libc.timerfd_settime(self.fd, self._flags, ctypes.byref(spec), None)
            and ctypes.get_errno() != errno.ECANCELED
        ):
            raise OSError(ctypes.get_errno(), "timerfd_settime")


def _offsets() -> tuple[float, float]:
    """How long the host has slept since boot, and the time of day at which it booted."""
    boot = boottime()
    return boot - time.clock_gettime(time.CLOCK_MONOTONIC), time.time() - boot
