# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that stand in the zone and nowhere else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network

from ansible_collections.btmm.fleet.plugins.module_utils import ipsec, names, records

from tests.e2e import proof
from tests.e2e.fleet import Fleet

ADMIN_KEY = "/etc/bind/btmm/admin.key"
AT_ONCE = 50  # hosts in one update, which TCP takes up to 64 KiB long


def publish(fleet: Fleet, label: str, number: int, prefix: IPv6Network, outer: str) -> None:
    """Put `number` hosts into the zone, label-1 and so on, each reached at `outer`, by the owner's own key."""
    _update(fleet, "add", label, number, prefix, outer)


def withdraw(fleet: Fleet, label: str, number: int, prefix: IPv6Network, outer: str) -> None:
    """Take them out again; what is given is what was given then."""
    _update(fleet, "delete", label, number, prefix, outer)


def _update(fleet: Fleet, what: str, label: str, number: int, prefix: IPv6Network, outer: str) -> None:
    zone = names.parse_zone(proof.ZONE)
    reach = records.Reach((records.Endpoint(IPv4Address(outer), ipsec.TUNNEL_PORT),))
    lines = ["server 127.0.0.1", f"zone {proof.ZONE}"]
    for n in range(1, number + 1):
        described = {"label": f"{label}-{n}", "title": f"{label} {n}", "ula": str(prefix[n])}
        host = records.host_from_config({**described, "model": "iMac4,1", "services": [], "zone": proof.ZONE})
        found = records.host_records(host, reach)
        lines += [f"update {what} {r.to_text()}" for r in found if r.name.is_subdomain(zone)]
        lines += ["send"] if n % AT_ONCE == 0 or n == number else []
    script = fleet.folder / f"{label}.nsupdate"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fleet.send("zone", script, f"/run/{label}.nsupdate")
    fleet.shell("zone", f"nsupdate -v -k {ADMIN_KEY} /run/{label}.nsupdate", timeout=120)
