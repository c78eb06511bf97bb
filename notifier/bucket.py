# SPDX-License-Identifier: GPL-3.0-or-later
"""How many messages a client may send: at once, and then in a second."""

from __future__ import annotations

import time

BURST, MESSAGES_PER_S = 2_000, 20.0


class Bucket:
    """Fills with time; each message takes one out."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, burst: float = BURST, per_s: float = MESSAGES_PER_S) -> None:
        self._burst = self._left = float(burst)
        self._per_s = float(per_s)
        self._at = time.monotonic()

    def take(self, now: float) -> bool:
        """Take one at this monotonic time; False when it is empty, which costs nothing more."""
        self._left = min(self._left + (now - self._at) * self._per_s, self._burst)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
