# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a record is: finds everything of one host in the content of the zones, by the records alone.

A lost host cannot withdraw its records itself, and what it published last is known to nobody else.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import dns.rdatatype
from dns.name import Name

from . import names
from .names import folded
from .records import rrset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.rdatatype import RdataType

    from .records import Record, RRset

    _Folded = tuple[bytes, ...]

# A signed zone's transfer has these at every name (RFC 4035 section 2); nobody updates them.
_MADE_BY_SERVER = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
_ADDRESS = dns.rdatatype.AAAA
_OUTER = (dns.rdatatype.A, dns.rdatatype.AAAA)


class Content:
    """The records of the owner's zone or of its ip6.arpa zone, found by name, by host and by target.

    Built in one pass: a fleet of thousands asks for every host.
    """

    def __init__(self, zone: Name, records: Iterable[Record]) -> None:
        self.zone = zone
        self.records = tuple(record for record in records if record.rdata.rdtype not in _MADE_BY_SERVER)
        self.rrsets: dict[RRset, list[Record]] = {}
        self._at: dict[_Folded, list[Record]] = {}
        self._below: dict[bytes, list[Record]] = {}
        self._pointing: dict[_Folded, list[Record]] = {}
        suffix = folded(zone)
        depth = len(suffix)
        for record in self.records:
            name = folded(record.name)
            self.rrsets.setdefault((name, record.rdata.rdtype), []).append(record)
            self._at.setdefault(name, []).append(record)
            if len(name) > depth and name[-depth:] == suffix:
                self._below.setdefault(name[-depth - 1], []).append(record)
            if (target := target_of(record)) is not None:
                self._pointing.setdefault(folded(target), []).append(record)

    @functools.cached_property
    def sets(self) -> dict[tuple[Name, RdataType], list[Record]]:
        """The RRsets by owner name and type."""
        return {(records[0].name, kind): records for (_, kind), records in self.rrsets.items()}

    def held(self, pointer: Record) -> Record | None:
        """Return the PTR that points as `pointer` does, whatever its TTL."""
        target = target_of(pointer)
        owner = rrset(pointer)
        return next((r for r in self._to(target) if rrset(r) == owner), None) if target is not None else None

    def without(self, gone: Iterable[Record]) -> Content:
        """Return the content that is left when records of it are taken away."""
        taken = {id(record) for record in gone}
        return Content(self.zone, (record for record in self.records if id(record) not in taken))

    def records_of(self, label: str) -> tuple[Record, ...]:
        """Return the host's records.

        They are `H.Z` and all below it, the targets of its tunnel's SRVs, the instances whose SRV points to `H.Z`, the
        device info of the same title, and the reverse pointer. Shared pointers are its own when they point to one of
        its instances; a type stays in the enumeration of types as long as another host offers it.
        """
        zone = self.zone
        own = names.host_name(label, zone)
        to_own = self._to(own)
        # N._ssh._tcp.Z: the server's own SRVs (_dns-update-tls._tcp.Z) have no instance label.
        depth = len(zone) + 3
        instances = list(dict.fromkeys(r.name for r in to_own if _is(r, dns.rdatatype.SRV) and len(r.name) == depth))
        info = names.service_name("_device-info._tcp", zone).labels
        titled = dict.fromkeys((*instances, *(Name((name.labels[0], *info)) for name in instances)))
        pointers = [r for name in instances for r in self._to(name) if r.shared]
        mine = {id(record) for record in pointers}
        unused = {
            folded(r.name)
            for r in pointers
            if all(id(other) in mine or not other.shared for other in self._named(r.name))
        }
        enumeration = self._named(names.enumeration_name(zone))
        # A zone host that is in the fleet too has its public address at its name.
        found = [
            *(r for r in self._below.get(label.encode().lower(), []) if r.name != own or _is(r, _ADDRESS)),
            *(r for name in titled for r in self._named(name) if not r.shared),
            *(r for name in self._tunnel_targets(label) for r in self._named(name) if r.rdata.rdtype in _OUTER),
            *(r for r in to_own if _is(r, dns.rdatatype.PTR) and not r.shared),
            *pointers,
            *(r for r in enumeration if (kind := target_of(r)) is not None and folded(kind) in unused),
        ]
        return tuple({id(record): record for record in found}.values())

    def _named(self, name: Name) -> list[Record]:
        return self._at.get(folded(name), [])

    def _to(self, target: Name) -> list[Record]:
        return self._pointing.get(folded(target), [])

    def _tunnel_targets(self, label: str) -> list[Name]:
        """Return the targets of the tunnel's SRVs that can be its own: a host may write any target it likes."""
        found = []
        for tunnel in (names.autotunnel_name(label, self.zone), names.autotunnel_lan_name(label, self.zone)):
            targets = [target_of(record) for record in self._named(tunnel)]
            found += [
                target
                for target in dict.fromkeys(targets)
                if target is not None
                and target.labels[0].startswith(b"AutoTunnel-")
                and {r.name for r in self._to(target) if _is(r, dns.rdatatype.SRV)} == {tunnel}
            ]
        return found


def records_of(label: str, zone: Name, content: Iterable[Record]) -> tuple[Record, ...]:
    """Return one host's records among `content`; see `Content.records_of`."""
    return Content(zone, content).records_of(label)


def target_of(record: Record) -> Name | None:
    """Return where an SRV or PTR points to; NS and CNAME do not name hosts of the fleet."""
    pointing = _is(record, dns.rdatatype.SRV) or _is(record, dns.rdatatype.PTR)
    return getattr(record.rdata, "target", None) if pointing else None


def _is(record: Record, kind: RdataType) -> bool:
    return bool(record.rdata.rdtype == kind)
