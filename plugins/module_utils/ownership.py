# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a record is: finds everything of one host in the content of the zones, by the records alone.

A lost host cannot withdraw its records itself, and what it published last is known to nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.rdatatype
from dns.name import Name

from . import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import Record


def records_of(label: str, zone: Name, content: Sequence[Record]) -> tuple[Record, ...]:
    """Return the host's records among `content`, the records of its zone or of the ip6.arpa zone.

    They are `H.Z` and all below it, the target of its tunnel's SRV, the instances whose SRV points to `H.Z`, the
    device info of the same title, and the reverse pointer. Shared pointers are its own when they point to one of its
    instances; a type stays in the enumeration of types as long as another host offers it.
    """
    own = names.host_name(label, zone)
    # N._ssh._tcp.Z: the server's own SRVs (_dns-update-tls._tcp.Z) have no instance label.
    depth = len(zone) + 3
    instances = {r.name for r in content if _is(r, "SRV") and _target(r) == own and len(r.name) == depth}
    info = {Name((name.labels[0], *names.service_name("_device-info._tcp", zone).labels)) for name in instances}
    tunnels = _tunnel_targets(names.autotunnel_name(label, zone), content)
    pointers = [r for r in content if r.shared and _target(r) in instances]
    lasting = {r.name for r in content if r.shared and r not in pointers}
    unused = {r.name for r in pointers} - lasting
    enumeration = names.enumeration_name(zone)

    def is_own(record: Record) -> bool:
        if record.name == own:
            return _is(record, "AAAA")  # a zone host that is in the fleet too has its public address there
        if record.name in tunnels:
            return _is(record, "A")
        return record.name in instances | info or record.name.is_subdomain(own) or _points_to(record, own)

    return (
        *(record for record in content if not record.shared and is_own(record)),
        *pointers,
        *(record for record in content if record.name == enumeration and _target(record) in unused),
    )


def _tunnel_targets(tunnel: Name, content: Sequence[Record]) -> set[Name]:
    """Return the target of the tunnel's SRV, if it can be its own: a host may write any target it likes."""
    owners: dict[Name, set[Name]] = {}
    for record in content:
        target = _target(record)
        if _is(record, "SRV") and target is not None and target.labels[0].startswith(b"AutoTunnel-"):
            owners.setdefault(target, set()).add(record.name)
    return {target for target, sources in owners.items() if sources == {tunnel}}


def _points_to(record: Record, own: Name) -> bool:
    return _is(record, "PTR") and _target(record) == own


def _is(record: Record, kind: str) -> bool:
    return bool(record.rdata.rdtype == dns.rdatatype.from_text(kind))


def _target(record: Record) -> Name | None:
    """Return where an SRV or PTR points to; NS and CNAME do not name hosts of the fleet."""
    return getattr(record.rdata, "target", None) if _is(record, "SRV") or _is(record, "PTR") else None
