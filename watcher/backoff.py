# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before the next try."""

from __future__ import annotations

import random

from .errors import ZoneServerError

# Seconds: first wait, factor, cap. A server that is away or busy is tried again soon; what a repeat does not mend (a
# refused key, a gateway without port mapping) is repeated rarely: only a change of configuration or network helps.
_SOON = (1.0, 2.0, 60.0)
_RARELY = (15.0, 3.0, 900.0)


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
