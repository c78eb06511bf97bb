# SPDX-License-Identifier: GPL-3.0-or-later
"""What the zone says of itself: its servers, where it takes updates and questions, and that it can be browsed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: server_records
short_description: The zone's own record sets
version_added: 0.1.0
description:
  - Makes the record sets that M(btmm.fleet.dns_record_set) is given for the zone itself - NS and A of its servers,
    where updates and questions go (C(_dns-update-tls._tcp) and C(_dns-query-tls._tcp)), and the pointers of RFC 6763
    section 11 that offer the zone as a domain to browse and register in.
  - Questions go to the primary first, since it is never behind; updates go nowhere else.
  - Where changes are told at once (RFC 8765 section 6.1, RFC 8764 section 3.2), C(_dns-push-tls._tcp), C(_dns-llq._udp)
    and C(_dns-llq-tls._tcp), all notifiers are equal. Without one these sets are absent.
positional: zone, notifiers
options:
  _input: {description: What P(btmm.fleet.zone_servers#filter) returned., type: list, elements: dict, required: true}
  zone: {description: The owner's zone., type: str, required: true}
  notifiers:
    description: What P(btmm.fleet.zone_notifiers#filter) returned.
    type: list
    elements: dict
    default: []
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
record_sets: "{{ servers | btmm.fleet.server_records('bob.members.example', notifiers) }}"
"""

RETURN = r"""
_value:
  description: Record sets, in the form of M(btmm.fleet.dns_record_set).
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TTL_SERVER = 3600
TTL_CHANNEL = 7200
TTL_BROWSE = 4500
BACKUP_PRIORITY = 10
# Where clients find who tells them of changes, and which of a notifier's ports it is.
NOTIFIER_CHANNELS = {"_dns-push-tls._tcp": "push", "_dns-llq._udp": "llq", "_dns-llq-tls._tcp": "llq_tls"}
# Recommended, default and legacy browsing, and the same for registering (RFC 6763 section 11).
BROWSE_LABELS = ("b", "db", "lb", "r", "dr")


def server_records(
    servers: Sequence[Mapping[str, Any]], zone: str, notifiers: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return the record sets; the first server is the primary."""

    def a_set(name: str, kind: str, ttl: int, *rdata: str) -> dict[str, Any]:
        return {"name": name, "type": kind, "ttl": ttl, "rdata": list(rdata)}

    channels = [
        f"{BACKUP_PRIORITY if index else 0} 0 {server['port']} {server['name']}."
        for index, server in enumerate(servers)
    ]
    told = {
        name: [f"0 0 {each['ports'][kind]} {each['name']}." for each in notifiers if each["ports"][kind]]
        for name, kind in NOTIFIER_CHANNELS.items()
    }
    apex = f"{zone.removesuffix('.')}."
    return [
        a_set("@", "NS", TTL_SERVER, *(f"{server['name']}." for server in servers)),
        *(
            a_set(f"{server['name']}.", kind, TTL_SERVER, *rdata)
            for server in servers
            for kind, rdata in _addresses(server).items()
            # A host that is in the fleet, too, publishes its ULA there: what is not ours to say is left alone.
            if rdata
        ),
        a_set("_dns-update-tls._tcp", "SRV", TTL_CHANNEL, channels[0]),
        a_set("_dns-query-tls._tcp", "SRV", TTL_CHANNEL, *channels),
        *(
            {**a_set(name, "SRV", TTL_CHANNEL, *rdata), "state": "present" if rdata else "absent"}
            for name, rdata in told.items()
        ),
        *(a_set(f"{label}._dns-sd._udp", "PTR", TTL_BROWSE, apex) for label in BROWSE_LABELS),
    ]


def _addresses(server: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the addresses by record type."""
    return {
        "A": [address for address in server["addresses"] if ":" not in address],
        "AAAA": [address for address in server["addresses"] if ":" in address],
    }


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"server_records": server_records}
