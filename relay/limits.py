# SPDX-License-Identifier: GPL-3.0-or-later
"""How much one host may ask for, and all together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Limits:
    """Bounds of one relay; `bytes_per_s` is for each flow, both directions together, 0 for none."""

    hosts: int = 2000
    flows_per_host: int = 32
    bytes_per_s: int = 0


class Bucket:
    """A token bucket: `rate` per second on average, `burst` at once. It starts full."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._level = burst
        self._at = clock()

    def take(self, amount: float = 1.0) -> bool:
        """Take `amount` out, unless there is less."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if amount > self._level:
            return False
        self._level -= amount
        return True
