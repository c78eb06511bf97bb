# SPDX-License-Identifier: GPL-3.0-or-later
"""Challenges that need no memory: the LLQ-ID of one proves that its holder hears what is sent to its address."""

from __future__ import annotations

import hmac
import os
import time
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

# An ID is good for one to two of these: for as long as a client repeats its response (RFC 8764 section 5.2.3).
SLOT_S = 16


class Challenges:
    """Makes and knows IDs: 64 bits of an HMAC over who asks what, and when (RFC 8764 section 5.2.2)."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def issue(self, where: tuple[str, int], owner: str, question: Question) -> int:
        """Return the ID for a client at this address and port, whose key is its `owner`."""
        return next(self._ids(where, owner, question))

    def accepts(self, number: int, where: tuple[str, int], owner: str, question: Question) -> bool:
        """Return whether such an ID was issued a moment ago."""
        wire = number.to_bytes(8, "big")
        return any(hmac.compare_digest(wire, each.to_bytes(8, "big")) for each in self._ids(where, owner, question))

    def _ids(self, where: tuple[str, int], owner: str, question: Question) -> Iterator[int]:
        slot = int(time.monotonic() / SLOT_S)
        asked = repr((where, owner, folded(question.name), *map(int, question[1:])))
        for each in (slot, slot - 1):
            digest = hmac.digest(self._secret, f"{each} {asked}".encode(), "sha256")
            yield int.from_bytes(digest[:8], "big") or 1
