# SPDX-License-Identifier: GPL-3.0-or-later
"""How many messages a client may send: at once, and then in a second."""

from __future__ import annotations

import time

BURST, MESSAGES_PER_S = 2_000, 20.0


class Bucket:
    """Fills with time; each message takes one out."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = time.monotonic()

    def take(self, now: float) -> bool:
        """Take one at this monotonic time; False when it is empty."""
        filled = self._left + (now - self._at) * MESSAGES_PER_S
        self._at = now
        self._left = min(filled, BURST) - 1
        return self._left >= 0
