# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Push subscriber holds: the records of its questions, kept up to date by changes (RFC 8765 section 6.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .push import ANY, REMOVE, Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dns.name import Name
    from dns.rdata import Rdata

    from .push import Question

    Key = tuple[Name, Rdata]


class View:
    """The records that are known now. All changes that it returns are of single records, and truly change something."""

    def __init__(self) -> None:
        self._ttls: dict[Key, int] = {}
        self._doubtful: set[Key] = set()

    def __iter__(self) -> Iterator[Change]:
        """Go through the records, as additions."""
        return iter([Change(name, rdata.rdtype, ttl, rdata) for (name, rdata), ttl in self._ttls.items()])

    def apply(self, changes: Iterable[Change], questions: Iterable[Question]) -> list[Change]:
        """Take what a PUSH says; return what is different by it.

        What no question asks for is ignored: it may come for a subscription that just ended.
        """
        asked = tuple(questions)
        found: list[Change] = []
        for change in changes:
            if any(change.concerns(question) for question in asked):
                found += self._remove(change) if change.rdata is None else self._one(change, change.rdata)
        return found

    def doubt(self) -> None:
        """The session is lost: nobody tells any more of what changes (RFC 8765 section 6.7)."""
        self._doubtful = set(self._ttls)

    def settle(self) -> list[Change]:
        """A new session has told all there is; return what went away in between."""
        return self._drop(self._doubtful & self._ttls.keys())

    def forget(self, question: Question, others: Iterable[Question]) -> None:
        """A subscription has ended: keep only what one of the others asks for."""
        left = tuple(others)
        for name, rdata in tuple(self._ttls):
            known = Change(name, rdata.rdtype, 0, rdata)
            if known.concerns(question) and not any(known.concerns(other) for other in left):
                del self._ttls[name, rdata]

    def _one(self, change: Change, rdata: Rdata) -> list[Change]:
        key = (change.name, rdata)
        if change.ttl == REMOVE:
            return self._drop({key} & self._ttls.keys())
        self._doubtful.discard(key)
        if self._ttls.get(key) == change.ttl:
            return []
        self._ttls[key] = change.ttl
        return [change]

    def _remove(self, change: Change) -> list[Change]:
        gone = {
            (name, rdata)
            for name, rdata in self._ttls
            if name == change.name
            and change.rdclass in (ANY, rdata.rdclass)
            and (change.rdclass == ANY or change.rdtype in (ANY, rdata.rdtype))
        }
        return self._drop(gone)

    def _drop(self, keys: set[Key]) -> list[Change]:
        for key in keys:
            del self._ttls[key]
        self._doubtful -= keys
        return [Change(name, rdata.rdtype, REMOVE, rdata) for name, rdata in keys]
