# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

from .errors import ZoneServerError

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds: first wait, factor, cap. A server that is away or busy is tried again soon, by 2,000 hosts a hundred times a
# second at most; what a repeat does not mend (a refused key, a gateway without port mapping) is repeated rarely: only a
# change of configuration or network helps.
_SOON = (1.0, 2.0, 20.0)
_RARELY = (15.0, 3.0, 900.0)

# A network that changes more often than so many times within so many seconds flaps; then the zone is told once it has
# kept still for so long.
_FREE, _WITHIN_S, _STILL_S = 4, 3.0, 1.0

# Seconds: first and longest wait between tries of what need not succeed.
_NEXT_S, _LAST_S = 5.0, 300.0


def is_final(error: Exception) -> bool:
    """Whether the same try fails again until a person or the network changes something."""
    return not (isinstance(error, ZoneServerError) or getattr(error, "retryable", False))


class Backoff:
    """Waits that grow with every failure of a row."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures, after a success."""
        self._failures = 0

    def next(self, error: Exception) -> float:
        """Return seconds to wait after `error`: grown, capped, and spread by +-25 % so that a fleet does not march."""
        first, factor, cap = _RARELY if is_final(error) else _SOON
        # A gateway may say how long the same question would be refused (RFC 6887 section 7.4).
        wait = max(min(first * factor**self._failures, cap), getattr(error, "retry_after_s", 0.0))
        self._failures += 1
        return wait * random.uniform(0.75, 1.25)  # noqa: S311 - spread, not secrecy


class Pace:
    """How long to hold an UPDATE back when the network changes: not at all, unless it flaps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changes: deque[float] = deque(maxlen=_FREE + 1)

    def change(self) -> None:
        """Note a change."""
        self._changes.append(self._clock())

    def hold_s(self) -> float:
        """Return seconds without a change after which to send; a change in between begins them anew."""
        flaps = len(self._changes) > _FREE and self._changes[-1] - self._changes[0] < _WITHIN_S
        return max(0.0, self._changes[-1] + _STILL_S - self._clock()) if flaps else 0.0


class Occasions:
    """When to try again, for each of several peers, what would be better but need not be: more and more rarely."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next: dict[str, tuple[float, float]] = {}

    def is_due(self, label: str) -> bool:
        """Whether it is time; each yes is followed by a longer wait."""
        at, wait = self._next.get(label, (0.0, _NEXT_S))
        now = self._clock()
        if now < at:
            return False
        self._next[label] = now + wait, min(wait * 2, _LAST_S)
        return True

    def renew(self, label: str) -> None:
        """Something changed: the next try is due at once."""
        self._next.pop(label, None)

    def renew_all(self) -> None:
        """Everything changed."""
        self._next.clear()
