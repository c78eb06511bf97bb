# SPDX-License-Identifier: GPL-3.0-or-later
"""First answers of Push, encoded: after a restart ten thousand clients ask the same within seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .topics import Topic

OCTETS = 16_777_216  # that are kept
OVERHEAD = 1_024  # octets that one answer takes beside its own: its name, two tables


class Answers:
    """What is at some names, as their subscribers are told it; in all no more than `OCTETS`."""

    def __init__(self) -> None:
        self._held: dict[tuple[bytes, ...], dict[tuple[int, int], bytes]] = {}
        self._octets = 0

    def __len__(self) -> int:
        """Return how many are held."""
        return sum(map(len, self._held.values()))

    def get(self, topic: Topic[Any], block: int) -> bytes | None:
        """Return the answer to a question in padding to `block` octets, if it is known."""
        return self._held.get(topic.key, {}).get((topic.question.rdtype, block))

    def keep(self, topic: Topic[Any], block: int, answer: bytes) -> None:
        """Remember an answer. One without any record costs nothing to find again, and there are names without end."""
        if not answer:
            return
        if self._octets + len(answer) + OVERHEAD > OCTETS:
            self._held.clear()
            self._octets = 0
        self._held.setdefault(topic.key, {})[topic.question.rdtype, block] = answer
        self._octets += len(answer) + OVERHEAD

    def forget(self, key: tuple[bytes, ...]) -> None:
        """Something is different at this name, folded."""
        for answer in self._held.pop(key, {}).values():
            self._octets -= len(answer) + OVERHEAD
