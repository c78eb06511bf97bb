# SPDX-License-Identifier: GPL-3.0-or-later
"""One record set as someone wants it, and what has to be sent so that it becomes so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.rdatatype

from .names import InvalidName
from .records import InvalidRecord, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dns.name import Name


@dataclass(frozen=True, slots=True)
class RecordSet:
    """A wanted record set.

    With `merge` the given records are in it, or absent from it, and others' are left alone; without, the set is
    exactly the given records, or absent as a whole.
    """

    name: Name
    rdtype: dns.rdatatype.RdataType
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
        try:
            rdtype = dns.rdatatype.from_text(kind)
        except (dns.exception.DNSException, ValueError) as error:
            raise InvalidRecord(f"'{kind}' is not a record type") from error
        lines = [f"{name} {options['ttl']} IN {kind} {rdata}" for rdata in options["rdata"]]
        records = tuple(replace(Record.from_text(line, zone), shared=merge) for line in lines)
        owner = records[0].name if records else Record.from_text(f"{name} 0 IN TXT x", zone).name
        if not owner.is_subdomain(zone):
            raise InvalidName(f"'{owner}' is not in zone {zone}: one message updates one zone")
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


def zone_text(records: Iterable[Record]) -> str:
    """Return records as sorted zone file lines, for a diff."""
    return "".join(f"{line}\n" for line in sorted(record.to_text() for record in records))
