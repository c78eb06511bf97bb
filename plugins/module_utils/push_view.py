# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Push subscriber holds: the records of its questions, kept up to date by changes (RFC 8765 section 6.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import folded
from .push import ANY, REMOVE, Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dns.name import Name
    from dns.rdata import Rdata

    from .push import Question

    Folded = tuple[bytes, ...]


class View:
    """The records that are known now. All changes that it returns are of single records, and truly change something.

    All of it is found by its name: a page follows thousands of questions, and a session begins with all their answers.
    """

    def __init__(self) -> None:
        self._questions: dict[Folded, list[Question]] = {}
        self._held: dict[Folded, dict[Rdata, tuple[Name, int]]] = {}  # with the name as it was told, and the TTL
        self._doubtful: set[tuple[Folded, Rdata]] = set()

    def __iter__(self) -> Iterator[Change]:
        """Go through the records, as additions."""
        for held in self._held.values():
            for rdata, (name, ttl) in held.items():
                yield Change(name, rdata.rdtype, ttl, rdata)

    def follow(self, questions: Iterable[Question]) -> None:
        """Hold what these questions ask for, and nothing else of what is held now."""
        former, self._questions = self._questions, {}
        for question in questions:
            self._questions.setdefault(folded(question.name), []).append(question)
        for key in former:
            if former[key] != self._questions.get(key):
                for rdata, (name, _) in tuple(self._held.get(key, {}).items()):
                    if not self._asked(key, Change(name, rdata.rdtype, 0, rdata)):
                        self._drop(key, rdata)

    def apply(self, changes: Iterable[Change]) -> list[Change]:
        """Take what a PUSH says; return what is different by it.

        What no question asks for is ignored: it may come for a subscription that just ended.
        """
        found: list[Change] = []
        for change in changes:
            key = folded(change.name)
            if self._asked(key, change):
                found += self._remove(key, change) if change.rdata is None else self._one(key, change, change.rdata)
        return found

    def doubt(self) -> None:
        """The session is lost: nobody tells any more of what changes (RFC 8765 section 6.7)."""
        self._doubtful = {(key, rdata) for key, held in self._held.items() for rdata in held}

    def settle(self) -> list[Change]:
        """A new session has told all there is; return what went away in between."""
        return [change for key, rdata in tuple(self._doubtful) for change in self._drop(key, rdata)]

    def _asked(self, key: Folded, change: Change) -> bool:
        return any(change.concerns(question) for question in self._questions.get(key, ()))

    def _one(self, key: Folded, change: Change, rdata: Rdata) -> list[Change]:
        if change.ttl == REMOVE:
            return self._drop(key, rdata)
        self._doubtful.discard((key, rdata))
        held = self._held.setdefault(key, {})
        known = held.get(rdata)
        if known is not None and known[1] == change.ttl:
            return []
        held[rdata] = (change.name, change.ttl)
        return [change]

    def _remove(self, key: Folded, change: Change) -> list[Change]:
        gone = [
            rdata
            for rdata in self._held.get(key, ())
            if change.rdclass in (ANY, rdata.rdclass)
            and (change.rdclass == ANY or change.rdtype in (ANY, rdata.rdtype))
        ]
        return [dropped for rdata in gone for dropped in self._drop(key, rdata)]

    def _drop(self, key: Folded, rdata: Rdata) -> list[Change]:
        """Forget a record; return its removal, if it was there."""
        self._doubtful.discard((key, rdata))
        held = self._held.get(key, {})
        known = held.pop(rdata, None)
        if known is None:
            return []
        if not held:
            del self._held[key]
        return [Change(known[0], rdata.rdtype, REMOVE, rdata)]
