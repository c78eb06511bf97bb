# SPDX-License-Identifier: GPL-3.0-or-later
"""What many sessions are told at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import push

if TYPE_CHECKING:
    from .push_session import Session


@dataclass(slots=True)
class Delivery:
    """One message, or a few, for many sessions; encoded once, in as many ways as sessions are padded."""

    changes: list[push.Change]
    sessions: list[Session]
    next: int = 0
    encoded: dict[int, bytes] = field(default_factory=dict)

    def send(self, count: int) -> bool:
        """Serve the next `count` sessions; return whether all are served."""
        for session in self.sessions[self.next : self.next + count]:
            if not session.ending:
                session.send(self._framed(session.block))
        self.next += count
        return self.next >= len(self.sessions)

    def _framed(self, block: int) -> bytes:
        if block not in self.encoded:
            self.encoded[block] = framed(self.changes, block)
        return self.encoded[block]


def framed(changes: list[push.Change], block: int) -> bytes:
    """Return the messages that tell of changes, with their lengths; padded to multiples of `block` octets."""
    return b"".join(len(wire).to_bytes(2, "big") + wire for wire in push.encode_push(changes, block))
