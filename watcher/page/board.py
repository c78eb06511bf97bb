# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page shows now: written by one thread, waited for by those that serve the page."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Board:
    """One text, numbered anew with each change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._zones: dict[str, dict[str, Any]] = {}
        self._text = "[]"
        self._number = 0
        self._readers = 0

    @property
    def watched(self) -> bool:
        """Whether anybody looks: else nothing need be asked."""
        return self._readers > 0

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Count as one who looks, for as long as the block lasts."""
        with self._changed:
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1

    def show(self, zone: str, **values: object) -> None:
        """Change what is shown of a zone; who waits is told only when something is different now."""
        with self._changed:
            self._zones.setdefault(zone, {"zone": zone}).update(values)
            text = json.dumps([self._zones[each] for each in sorted(self._zones)], ensure_ascii=False)
            if text != self._text:
                self._text = text
                self._number += 1
                self._changed.notify_all()

    def after(self, number: int, within_s: float) -> tuple[int, str | None]:
        """Wait for another text than the one of this number; None when there is none in time."""
        with self._changed:
            other = self._changed.wait_for(lambda: self._number != number, within_s)
            return self._number, self._text if other else None
