# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that stand in the zone and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from ansible_collections.btmm.fleet.plugins.module_utils import ipsec, names, records

from tests.e2e import proof
from tests.e2e.fleet import Fleet

ADMIN_KEY = "/etc/bind/btmm/admin.key"
AT_ONCE = 50  # hosts in one update, which TCP takes up to 64 KiB long


def publish(fleet: Fleet, label: str, ulas: Sequence[IPv6Address], outer: str) -> None:
    """Put hosts with these addresses into the zone by the owner's key: label-1 and so on, each reached at `outer`."""
    _update(fleet, "add", label, ulas, outer)


def withdraw(fleet: Fleet, label: str, ulas: Sequence[IPv6Address], outer: str) -> None:
    """Take them out again; what is given is what was given then."""
    _update(fleet, "delete", label, ulas, outer)


def _update(fleet: Fleet, what: str, label: str, ulas: Sequence[IPv6Address], outer: str) -> None:
    zone = names.parse_zone(proof.ZONE)
    reach = records.Reach((records.Endpoint(IPv4Address(outer), ipsec.TUNNEL_PORT),))
    lines = ["server 127.0.0.1", f"zone {proof.ZONE}"]
    for n, ula in enumerate(ulas, 1):
        described = {"label": f"{label}-{n}", "title": f"{label} {n}", "ula": str(ula)}
        host = records.host_from_config({**described, "model": "iMac4,1", "services": [], "zone": proof.ZONE})
        found = records.host_records(host, reach)
        lines += [f"update {what} {r.to_text()}" for r in found if r.name.is_subdomain(zone)]
        lines += ["send"] if n % AT_ONCE == 0 or n == len(ulas) else []
    script = fleet.folder / f"{label}.nsupdate"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fleet.send("zone", script, f"/run/{label}.nsupdate")
    fleet.shell("zone", f"nsupdate -v -k {ADMIN_KEY} /run/{label}.nsupdate", timeout=120)
