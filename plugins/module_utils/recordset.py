# SPDX-License-Identifier: GPL-3.0-or-later
"""One record set as someone wants it, and what has to be sent so that it becomes so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.rdatatype

from .names import InvalidName, check_text
from .records import InvalidRecord, Record
from .update import PrerequisiteFailed, change, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dns.name import Name
    from dns.rdata import Rdata
    from dns.rdatatype import RdataType
    from dns.update import UpdateMessage

    from .session import Session


# Octets: what a message carries (RFC 1035 section 4.2.2) less header, zone and TSIG; a record besides its data, with
# the owner compressed.
_MAX_SIZE = 65000
_RECORD = 12
_TRIES = 4  # how often somebody else may have been faster


@dataclass(frozen=True, slots=True)
class RecordSet:
    """A wanted record set.

    With `merge` the given records are in it, or absent from it, and others' are left alone; without, the set is
    exactly the given records, or absent as a whole.
    """

    name: Name
    rdtype: RdataType
    records: tuple[Record, ...]
    merge: bool = False
    present: bool = True

    @classmethod
    def from_options(cls, options: Mapping[str, Any], zone: Name) -> RecordSet:
        """Return the record set of a module's options `name, type, ttl, rdata, mode, state`.

        Raises:
            InvalidName: the name is not in the zone.
            InvalidRecord: the rest is not valid, or incomplete.
        """
        name, kind, merge = options["name"], options["type"], options["mode"] == "merge"
        present = options["state"] == "present"
        if not options["rdata"] and (present or merge):
            raise InvalidRecord(f"record set {name} {kind} has no rdata: only a whole set can be removed without")
        rdtype = record_type(kind)
        lines = [f"{name} {options['ttl']} IN {kind} {rdata}" for rdata in options["rdata"]]
        records = tuple(replace(Record.from_text(line, zone), shared=merge) for line in lines)
        owner = owner_of(name, zone)
        if not owner.is_subdomain(zone):
            raise InvalidName(f"'{owner}' is not in zone {zone}: one message updates one zone")
        for record in records:
            for each in (owner, *names_in(record.rdata)):
                check_text(each)
        size = sum(len(record.rdata.to_wire() or b"") + _RECORD for record in records)
        if size > _MAX_SIZE:
            raise InvalidRecord(f"record set {name} {kind} has {size} octets, {_MAX_SIZE} fit in a message: shorten it")
        return cls(owner, rdtype, records, merge, present)

    def __str__(self) -> str:
        """Return name and type."""
        return f"{self.name} {dns.rdatatype.to_text(self.rdtype)}"

    def after(self, current: Sequence[Record]) -> tuple[Record, ...]:
        """Return what the set will hold, given what it holds now."""
        if not self.merge:
            return self.records if self.present else ()
        own = {record.rdata for record in self.records}
        others = tuple(record for record in current if record.rdata not in own)
        return (*others, *self.records) if self.present else others

    def is_met(self, current: Sequence[Record]) -> bool:
        """Tell whether nothing has to be sent; in a merged set the TTL counts for the set's own rdata only."""
        return {(r.ttl, r.rdata) for r in self.after(current)} == {(r.ttl, r.rdata) for r in current}

    def changes(self, current: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        """Return (wanted, previous), as `update.change` takes them."""
        if self.present:
            return self.records, ()
        return (), self.records if self.merge else tuple(replace(record, shared=False) for record in current)


def keep(
    session: Session, wanted: Sequence[tuple[Name, RecordSet]], *, check: bool = False
) -> tuple[list[RecordSet], list[list[Record]]]:
    """Bring record sets of one or more zones to what is wanted; return those that differed, and what they held.

    One message for each zone with all that differs there, which the server applies only if the replaced sets are still
    as they were read; if they are not, they are read again.

    Raises:
        UpdateError: a message was not applied; those to other zones may have been.
    """
    before: dict[int, list[Record]] = {}
    for tries_left in reversed(range(_TRIES)):
        sets = [(each.name, each.rdtype) for _, each in wanted]
        held = session.ask(lambda exchange, sets=sets: exchange.lookups(sets))  # type: ignore[misc]
        differing = [index for index, now in enumerate(held) if not wanted[index][1].is_met(now)]
        for index in differing:
            before.setdefault(index, held[index])
        try:
            for zone in [] if check else dict.fromkeys(wanted[index][0] for index in differing):
                inside = [index for index in differing if wanted[index][0] == zone]
                session.send(_message(zone, [(wanted[index][1], held[index]) for index in inside]))
        except PrerequisiteFailed:
            if not tries_left:
                raise
        else:
            break
    return [wanted[index][1] for index in before], list(before.values())


def _message(zone: Name, parts: Sequence[tuple[RecordSet, list[Record]]]) -> UpdateMessage:
    changes = [each.changes(now) for each, now in parts]
    new, old = ([record for change_ in changes for record in change_[side]] for side in (0, 1))
    message = change(zone, new, old)
    for each, now in parts:
        if not each.merge:
            require(message, each.name, each.rdtype, now)
    return message


def record_type(text: str) -> RdataType:
    """Return the type that `text` names, which is not one of queries only.

    Raises:
        InvalidRecord: there is none.
    """
    try:
        rdtype = dns.rdatatype.from_text(text)
    except (dns.exception.DNSException, ValueError) as error:
        raise InvalidRecord(f"'{text}' is not a record type") from error
    if dns.rdatatype.is_metatype(rdtype):
        raise InvalidRecord(f"'{text}' is no type of stored records")
    return rdtype


def owner_of(text: str, zone: Name | None = None) -> Name:
    """Return the name a zone file text stands for, below `zone` unless it ends in a dot.

    Raises:
        InvalidRecord: it is no name, or relative and there is no zone.
    """
    return Record.from_text(f"{text} 0 IN TXT x", zone).name


def names_in(rdata: Rdata) -> list[Name]:
    """Return the names that the data refers to, such as the target of an SRV."""
    values = (getattr(rdata, slot, None) for slot in rdata.__slots__)
    return [value for value in values if isinstance(value, dns.name.Name)]


def zone_text(records: Iterable[Record]) -> str:
    """Return records as sorted zone file lines, for a diff."""
    return "".join(f"{line}\n" for line in sorted(record.to_text() for record in records))
