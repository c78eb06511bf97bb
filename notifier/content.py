# SPDX-License-Identifier: GPL-3.0-or-later
"""One zone's records in memory, and what a step from one serial to the next changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils.names import folded

from .errors import BadTransferError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dns.name import Name
    from dns.rdata import Rdata
    from dns.rdatatype import RdataType

    Record = tuple[Name, int, Rdata]  # owner, TTL in seconds, data
    Folded = tuple[bytes, ...]

# Signing doubles a zone, and changes with every step; who checks signatures asks a server, not a notifier.
UNKEPT = frozenset(dns.rdatatype.from_text(kind) for kind in ("RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "TYPE65534"))


@dataclass(frozen=True, slots=True)
class RRset:
    """All records of one name and type."""

    name: Name
    rdtype: RdataType
    ttl: int
    rdatas: tuple[Rdata, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What one step does to one RRset. Both tuples empty never happens.

    `added` holds new data and, when the TTL changed, everything that the RRset has now. `ttl` (seconds) is that of what
    was added; of an RRset that is gone, the last one it had.
    """

    name: Name
    rdtype: RdataType
    added: tuple[Rdata, ...]
    removed: tuple[Rdata, ...]
    ttl: int


@dataclass(frozen=True, slots=True)
class Step:
    """From one serial to the next, as IXFR tells it (RFC 1995 section 4): the SOAs are among the records."""

    before: int
    after: int
    removed: tuple[Record, ...]
    added: tuple[Record, ...]


class _Held:
    """An RRset as it is kept: by what its data are compared by, so that one of many thousands is found at once."""

    __slots__ = ("name", "rdatas", "rdtype", "ttl")

    def __init__(self, name: Name, rdtype: RdataType, ttl: int) -> None:
        self.name = name
        self.rdtype = rdtype
        self.ttl = ttl
        self.rdatas: dict[bytes, Rdata] = {}

    def shown(self) -> RRset:
        return RRset(self.name, self.rdtype, self.ttl, tuple(self.rdatas.values()))


@dataclass(slots=True)
class _Draft:
    """What a step does to one RRset, before it is known that all of the step fits."""

    name: Name
    rdtype: RdataType
    held: _Held | None
    ttl: int
    removed: dict[bytes, Rdata] = field(default_factory=dict)
    added: dict[bytes, Rdata] = field(default_factory=dict)

    def has(self, digest: bytes) -> bool:
        if digest in self.added:
            return True
        return self.held is not None and digest in self.held.rdatas and digest not in self.removed


class Content:
    """The records of one zone at one serial."""

    def __init__(self, serial: int, records: Iterable[Record] = ()) -> None:
        self.serial = serial
        self._names: dict[Folded, tuple[_Held, ...]] = {}
        self._labels: dict[bytes, bytes] = {}
        for record in records:
            self.take(record)

    def take(self, record: Record) -> None:
        """Add a record of a whole zone that is on its way: nobody is told."""
        name, ttl, rdata = record
        if rdata.rdtype not in UNKEPT:
            held = self._find(folded(name), rdata.rdtype) or self._make(name, rdata.rdtype, ttl)
            held.rdatas[rdata.to_digestable()] = rdata

    def __iter__(self) -> Iterator[RRset]:
        """Go through all RRsets."""
        for sets in self._names.values():
            for held in sets:
                yield held.shown()

    def lookup(self, name: Name, rdtype: RdataType) -> tuple[RRset, ...]:
        """Return the RRset of that name and type, or all of the name for ANY; none when there is none."""
        sets = self._names.get(folded(name), ())
        return tuple(held.shown() for held in sets if rdtype in (held.rdtype, dns.rdatatype.ANY))

    def apply(self, step: Step) -> tuple[Change, ...]:
        """Bring the content to the step's serial and return what changed, in the order of the step.

        Raises:
            BadTransferError: the step removes what is not there, or adds what is: the two have drifted apart. The
                content is unchanged then.
        """
        if step.before != self.serial:
            raise BadTransferError(f"a step from serial {step.before} does not follow {self.serial}")
        drafts: dict[tuple[Folded, RdataType], _Draft] = {}
        for name, _, rdata in step.removed:
            if rdata.rdtype in UNKEPT:
                continue
            draft, digest = self._draft(drafts, name, rdata), rdata.to_digestable()
            if not draft.has(digest):
                raise BadTransferError(f"the step to serial {step.after} removes from {name} what is not held")
            draft.removed[digest] = rdata
        for name, ttl, rdata in step.added:
            if rdata.rdtype in UNKEPT:
                continue
            draft, digest = self._draft(drafts, name, rdata), rdata.to_digestable()
            if draft.has(digest):
                raise BadTransferError(f"the step to serial {step.after} adds to {name} what is held")
            draft.added[digest] = rdata
            draft.ttl = ttl
        self.serial = step.after
        changes = [self._settle(key, draft) for key, draft in drafts.items()]
        return tuple(change for change in changes if change is not None)

    def difference(self, newer: Content) -> tuple[Change, ...]:
        """Return what has to be told when `newer` takes this content's place: sets that are gone come first."""
        gone = [
            Change(held.name, held.rdtype, (), tuple(held.rdatas.values()), held.ttl)
            for key, sets in self._names.items()
            for held in sets
            if newer._find(key, held.rdtype) is None
        ]
        return (*gone, *self._differing(newer))

    def _differing(self, newer: Content) -> Iterator[Change]:
        for key, sets in newer._names.items():
            for now in sets:
                former = self._find(key, now.rdtype)
                before = former.rdatas if former else {}
                retimed = former is not None and former.ttl != now.ttl
                added = tuple(rdata for digest, rdata in now.rdatas.items() if retimed or digest not in before)
                removed = tuple(rdata for digest, rdata in before.items() if digest not in now.rdatas)
                if added or removed:
                    yield Change(now.name, now.rdtype, added, removed, now.ttl)

    def _find(self, key: Folded, rdtype: RdataType) -> _Held | None:
        for held in self._names.get(key, ()):
            if held.rdtype == rdtype:
                return held
        return None

    def _make(self, name: Name, rdtype: RdataType, ttl: int) -> _Held:
        # A zone has few different labels beside many names: each is kept once.
        key = tuple(self._labels.setdefault(label, label) for label in folded(name))
        others = self._names.get(key, ())
        held = _Held(others[0].name if others else name, rdtype, ttl)
        self._names[key] = (*others, held)
        return held

    def _draft(self, drafts: dict[tuple[Folded, RdataType], _Draft], name: Name, rdata: Rdata) -> _Draft:
        key = (folded(name), rdata.rdtype)
        if key not in drafts:
            held = self._find(*key)
            drafts[key] = _Draft(name, rdata.rdtype, held, held.ttl if held else 0)
        return drafts[key]

    def _settle(self, key: tuple[Folded, RdataType], draft: _Draft) -> Change | None:
        """Make a draft the truth, and return what is different then."""
        held = draft.held or self._make(draft.name, draft.rdtype, draft.ttl)
        retimed = held.ttl != draft.ttl
        for digest in draft.removed:
            held.rdatas.pop(digest, None)
        held.rdatas.update(draft.added)
        held.ttl = draft.ttl
        removed = tuple(rdata for digest, rdata in draft.removed.items() if digest not in draft.added)
        added = tuple(rdata for digest, rdata in draft.added.items() if digest not in draft.removed)
        if not held.rdatas:
            rest = tuple(each for each in self._names[key[0]] if each is not held)
            if rest:
                self._names[key[0]] = rest
            else:
                del self._names[key[0]]
        elif retimed:
            added = tuple(held.rdatas.values())
        return Change(held.name, held.rdtype, added, removed, held.ttl) if added or removed else None
