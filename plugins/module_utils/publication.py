# SPDX-License-Identifier: GPL-3.0-or-later
"""What many hosts want in a zone, compared with what is there, and divided into messages.

A host's records go in one message, which the server applies as a whole or not at all (RFC 2136 section 3.4); hosts
share messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.rdatatype

from . import names
from .names import folded
from .ownership import target_of
from .records import rrset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dns.name import Name

    from .ownership import Content
    from .records import Record, RRset

# Octets of records in one message: 65,535 (RFC 1035 section 4.2.2) less header, zone and TSIG of the largest kind.
MESSAGE_SIZE = 64000
_FIXED = 10  # type, class, TTL and length of a record


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one host wants to have in a zone.

    With a `label` the records are the host's whole set: instances, pointers and tunnel targets of the label that are
    not among them are withdrawn. Without, nothing is.
    """

    host: str
    records: tuple[Record, ...]
    label: str | None = None


@dataclass(slots=True)
class Change:
    """What has to be sent for one host: RRsets and pointers that are not as wanted, and what has to go.

    `before` is what the zone holds of all these; `wanted` is what it will hold.
    """

    host: str
    wanted: list[Record] = field(default_factory=list)
    previous: list[Record] = field(default_factory=list)
    before: list[Record] = field(default_factory=list)
    size: int = 0

    def measured(self) -> Change:
        """Set `size`: an upper bound of the octets in a message, since in a large one compression cannot be relied on.

        A pointer reaches the first 16,384 octets only (RFC 1035 section 4.1.4).
        """
        self.size = sum(_octets(record, deleted=not record.shared) for record in self.wanted)
        self.size += sum(_octets(record) for record in self.previous)
        return self

    def sets(self) -> dict[RRset, Record]:
        """Return the RRsets of which nobody else has a part, and a record of each."""
        return {rrset(record): record for record in (*self.previous, *self.wanted) if not record.shared}


def plan(content: Content, hosts: Sequence[Wanted]) -> tuple[list[Change], dict[str, str]]:
    """Compare; return the changes of the hosts that differ, and a sentence for each host that cannot have its wish.

    An RRset that is not shared belongs to one host: to the one whose it is, or else to the first of `hosts`.
    """
    claims: dict[RRset, str] = {}
    refused: dict[str, str] = {}
    accepted: list[Wanted] = []
    for host in hosts:
        rival = _rival(content, host, claims)
        if rival is not None:
            refused[host.host] = rival
            continue
        claims.update({rrset(record): host.host for record in host.records if not record.shared})
        accepted.append(host)
    changes: list[Change] = []
    for host in accepted:
        each = _compare(content, host, claims)
        if each.size > MESSAGE_SIZE:
            refused[host.host] = (
                f"its records need {each.size} octets, and the one message of a host takes {MESSAGE_SIZE}: "
                "give it fewer or shorter ones"
            )
        elif each.size:
            changes.append(each)
    return changes, refused


def plan_withdrawal(content: Content, labels: Sequence[str]) -> list[Change]:
    """Return the changes that take all records of hosts away; the host of each is its label.

    One after the other: a type in the enumeration goes with the last host that offers it.
    """
    changes = []
    for label in dict.fromkeys(labels):
        found = list(content.records_of(label))
        if found:
            changes.append(Change(label, previous=found, before=found).measured())
            content = content.without(found)
    return changes


def pack(changes: Iterable[Change], limit: int = MESSAGE_SIZE) -> Iterator[list[Change]]:
    """Divide changes into messages, in order and as few as fit; a host is never divided."""
    batch: list[Change] = []
    filled = 0
    for each in changes:
        if batch and filled + each.size > limit:
            yield batch
            batch, filled = [], 0
        batch.append(each)
        filled += each.size
    if batch:
        yield batch


def _compare(content: Content, host: Wanted, claims: dict[RRset, str]) -> Change:
    each = Change(host.host)
    groups: dict[RRset, list[Record]] = {}
    for record in host.records:
        groups.setdefault(rrset(record), []).append(record)
    for owner, records in groups.items():
        current = content.rrsets.get(owner, [])
        if records[0].shared:
            for record in records:
                found = content.held(record)
                if found is None or found.ttl != record.ttl:
                    each.wanted.append(record)
                    each.before += [found] if found else []
        elif not _same(current, records):
            each.wanted += records
            each.before += current
    if host.label is not None:
        gone = _outdated(content, host, host.label, claims)
        each.previous += gone
        each.before += gone
    return each.measured()


def _same(current: list[Record], wanted: list[Record]) -> bool:
    if len(current) == len(wanted) == 1:
        return current[0].ttl == wanted[0].ttl and current[0].rdata == wanted[0].rdata
    return {(r.ttl, r.rdata) for r in current} == {(r.ttl, r.rdata) for r in wanted}


def _outdated(content: Content, host: Wanted, label: str, claims: dict[RRset, str]) -> list[Record]:
    """Return what the host had and does not want.

    The enumeration of types stays, other hosts rely on it; so does what is below the host's name besides the tunnel,
    such as the lease: the host's own daemon keeps it.
    """
    own = folded(names.host_name(label, content.zone))
    lasting = folded(names.enumeration_name(content.zone))
    pointers = {(rrset(record), target_of(record)) for record in host.records if record.shared}
    return [
        record
        for record in content.records_of(label)
        if (name := folded(record.name)) != lasting
        and name[-len(own) :] != own
        and ((rrset(record), target_of(record)) not in pointers if record.shared else rrset(record) not in claims)
    ]


def _rival(content: Content, host: Wanted, claims: dict[RRset, str]) -> str | None:
    """Return why the host cannot have its records, if somebody else has a name of them."""
    for record in host.records:
        if record.shared:
            continue
        other = claims.get(rrset(record))
        if other is not None:
            return f"it wants '{record.name}', which is {other}'s: give it another label or title"
        target = target_of(record)
        if record.rdata.rdtype != dns.rdatatype.SRV or record.name.labels[0].startswith(b"_"):
            continue
        for found in content.rrsets.get(rrset(record), []):
            if target_of(found) != target:
                return (
                    f"it wants '{record.name}', which points to {target_of(found)}: give it another title, or remove "
                    "that host first"
                )
    return None


def _octets(record: Record, *, deleted: bool = False) -> int:
    """Return the octets of a record; with `deleted`, and of the record that deletes its RRset first."""
    owner = _length(record.name) + _FIXED
    target = target_of(record)
    data = len(record.rdata.to_wire() or b"") if target is None else _length(target) + _FIXED
    return (2 * owner if deleted else owner) + data


def _length(name: Name) -> int:
    return sum(map(len, name.labels)) + len(name.labels)
