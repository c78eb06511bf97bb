# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody stands for any more: hosts whose lease ran out, and what hosts left at names that all of them may write.

BIND knows no leases and judges no rdata, so somebody beside it has to. Everything here is a plan: each removal is one
UPDATE whose prerequisites (RFC 2136 section 2.4) are the very facts it was decided by. Who refreshed or published
meanwhile makes them fail, and keeps what is his.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import dns.rdatatype
import dns.update

from . import names
from .lease import Trace
from .ownership import Content, target_of
from .update import withdraw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from dns.name import Name
    from dns.update import UpdateMessage

    from .records import Record

GRACE_S = 60
FLOOR_S = 1800
# A signature from a clock that is further ahead is refused (RFC 8945 section 5.2.3): such a trace is not believed.
_AHEAD = timedelta(seconds=300)

_AAAA, _A, _PTR, _SRV, _TXT = (dns.rdatatype.from_text(kind) for kind in ("AAAA", "A", "PTR", "SRV", "TXT"))


@dataclass(frozen=True, slots=True)
class Removal:
    """One UPDATE, and the words for the log: `what` goes, and `why`."""

    what: str
    why: str
    records: tuple[Record, ...]
    message: UpdateMessage


@dataclass(frozen=True, slots=True)
class Judged:
    """The leases of a zone: labels with the trace that ran out, how many run, and sentences about what is no trace."""

    expired: dict[str, tuple[Trace, tuple[Record, ...]]]
    running: int
    doubtful: tuple[str, ...]


def judge(
    zone: Name, content: Iterable[Record], now: datetime, grace_s: int = GRACE_S, floor_s: int = FLOOR_S
) -> Judged:
    """Judge every trace of a lease in the zone; hosts without one are not spoken of.

    Args:
        zone: the owner's zone.
        content: its records.
        now: the time, with its zone.
        grace_s: seconds that a host may be late.
        floor_s: no lease is shorter, whatever the host asked for.
    """
    traces: dict[Name, list[Record]] = {}
    for record in content:
        name = record.name
        if record.rdata.rdtype == _TXT and len(name) == len(zone) + 2 and name.labels[0].lower() == b"_lease":
            traces.setdefault(name, []).append(record)
    expired, running, doubtful = {}, 0, []
    for name, records in sorted(traces.items()):
        try:
            label = names.check_label(name.labels[1].decode("ascii"))
            # A host can write more than one: the latest counts.
            read = (Trace.from_strings(getattr(record.rdata, "strings", ())) for record in records)
            trace = max(read, key=lambda each: each.refreshed)
        except ValueError as error:  # InvalidLease and InvalidName are
            doubtful.append(f"{name} is left alone: {error}")
            continue
        if trace.refreshed > now + _AHEAD:
            doubtful.append(f"{name} is left alone: it was refreshed at {trace.to_strings()[0][10:]}, which is to come")
        elif trace.ends(floor_s) + timedelta(seconds=grace_s) < now:
            expired[label] = trace, tuple(records)
        else:
            running += 1
    return Judged(expired, running, tuple(doubtful))


def host_removals(zone: Name, content: Sequence[Record], judged: Judged) -> Iterator[Removal]:
    """Yield one removal for each expired host: all it has in the zone, if its trace is still what it was."""
    held = Content(zone, content)
    for label, (trace, traces) in judged.expired.items():
        records = tuple(r for r in held.records_of(label) if r.name != names.enumeration_name(zone))
        message = withdraw(zone, records)
        message.present(traces[0].name, *(record.rdata for record in traces))
        why = f"its lease of {trace.lease_s} s ran out, it was last heard of at {trace.to_strings()[0][10:]}"
        yield Removal(f"host {names.host_name(label, zone)} ({len(records)} records)", why, records, message)


def stray_removals(zone: Name, content: Iterable[Record]) -> Iterator[Removal]:
    """Yield a removal for each pointer at a shared name that leads nowhere, then for each type that nobody offers.

    A service pointer has to lead to an instance of that service in the zone, with an SRV; where that leads into the
    zone, there has to be an address. Targets outside the zone are not judged.
    """
    held = Content(zone, content)
    offered = set()
    enumeration = names.enumeration_name(zone)
    for (name, kind), records in held.sets.items():
        if kind != _PTR or name == enumeration or not _is_service(name, zone):
            continue
        for record in records:
            stray = _stray(held, record)
            if stray is None:
                offered.add(name)
            else:
                yield stray
    for record in held.sets.get((enumeration, _PTR), []):
        target = target_of(record)
        if target is not None and target not in offered:
            message = withdraw_one(zone, record)
            if target.is_subdomain(zone):
                message.absent(target, _PTR)
            yield Removal(f"type {target}", "nobody offers it", (record,), message)


def reverse_removals(
    zone: Name, reverse: Name, content: Iterable[Record], forward: Iterable[Record]
) -> Iterator[Removal]:
    """Yield a removal for each reverse pointer to a name of the zone at which nothing is any more.

    Args:
        zone: the owner's zone.
        reverse: its ip6.arpa zone.
        content: the records of the ip6.arpa zone, read BEFORE `forward`: a host publishes in the other order.
        forward: the records of the owner's zone.
    """
    there = {record.name for record in forward}
    for record in content:
        target = target_of(record)
        if record.rdata.rdtype == _PTR and target is not None and target.is_subdomain(zone) and target not in there:
            what = f"pointer {record.name} to {target}"
            yield Removal(what, "there is no such host", (record,), withdraw_one(reverse, record))


def withdraw_one(zone: Name, record: Record) -> UpdateMessage:
    """Return the message that deletes one record and nothing else of its set (RFC 2136 section 2.5.4)."""
    message = dns.update.UpdateMessage(zone)
    message.delete(record.name, record.rdata)
    return message


def _is_service(name: Name, zone: Name) -> bool:
    """Tell whether a name is `_ssh._tcp.Z`."""
    inside = len(name) == len(zone) + 2 and name.is_subdomain(zone)
    return inside and name.labels[0].startswith(b"_") and name.labels[1].lower() in {b"_tcp", b"_udp"}


def _stray(held: Content, record: Record) -> Removal | None:
    """Return the removal of a service pointer that leads nowhere; None when it is a good one."""
    zone, instance = held.zone, target_of(record)
    message = withdraw_one(zone, record)
    what = f"pointer {record.name} to {instance}"
    if instance is None or len(instance) != len(record.name) + 1 or not instance.is_subdomain(record.name):
        return Removal(what, "that is no instance of the service in the zone", (record,), message)
    services = held.sets.get((instance, _SRV), [])
    if not services:
        message.absent(instance, _SRV)
        return Removal(what, "there is no such instance", (record,), message)
    hosts = {target for service in services if (target := target_of(service)) is not None}
    if all(host.is_subdomain(zone) and not _has_address(held, host) for host in hosts):
        for host in sorted(hosts):
            message.absent(host, _AAAA)
            message.absent(host, _A)
        return Removal(what, f"{', '.join(map(str, sorted(hosts)))} has no address", (record,), message)
    return None


def _has_address(held: Content, host: Name) -> bool:
    return any((host, kind) in held.sets for kind in (_AAAA, _A))
