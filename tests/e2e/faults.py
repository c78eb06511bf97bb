# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fault tests do to a fleet, and how they wait for it to be whole again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.e2e import proof
from tests.e2e.fleet import CommandFailed, Fleet, seconds_until
from tests.e2e.proof import WATCHER, ZONE

UNIT_SETTINGS = f"/run/systemd/system/{WATCHER}.d"
BACK_S = 40  # the longest wait of a host between two attempts to reach the zone host, and the attempt
HOME = {"imac": "home", "macbook": "cafe", "mini": "wan"}
SOON_S = 30  # for what a host does by itself; what would mend it otherwise comes with a renewal, after an hour
FORGET = "systemctl stop lab-miniupnpd; nft -f /etc/nftables.conf; conntrack -F 2>/dev/null || true"


def opens(fleet: Fleet, client: str, server: str, within_s: float = 10) -> bool:
    """Tell whether a page opens by name, by whatever tunnel there is or can be made."""
    try:
        said = fleet.on(client, "curl", "-sS", "--fail", "--max-time", f"{within_s:g}", f"http://{server}.{ZONE}/")
    except CommandFailed:
        return False
    return server in said


def status(fleet: Fleet, host: str) -> dict[str, object]:
    """What `btmm status` tells; it exits with 1 when it tells of a fault."""
    told: dict[str, object] = json.loads(fleet.shell(host, "btmm status --json || true"))
    return told


def outer(fleet: Fleet, host: str) -> set[str]:
    """Outer IPv4 addresses of a host in the zone, at which it is reached directly."""
    targets = {target for priority, _, _, target in proof.ways(fleet, host) if priority == "10"}
    return {rdata for owner, kind, rdata in proof.zone_records(fleet) if kind == "A" and owner in targets}


def log(fleet: Fleet, host: str, unit: str, since: str) -> str:
    """Lines that a unit logged since a moment of `now`."""
    return fleet.on(host, "journalctl", f"--unit={unit}", "--output=cat", f"--since=@{since}")


def now(fleet: Fleet, host: str) -> str:
    """The time of day there."""
    return fleet.on(host, "date", "+%s.%N").strip()


def put_back(fleet: Fleet) -> None:
    """Plug each host in where it belongs: a test that was cut short may not have."""
    found = {each["host"]: each["segments"] for each in json.loads(fleet.lab("status", "--json"))}
    for host, segment in HOME.items():
        if found[host]["eth0"] != segment:
            fleet.lab("plug", host, segment)


def whole(fleet: Fleet) -> None:
    """See that the zone is as after enrolment, and that hosts reach each other."""
    for host in proof.WAN:
        fleet.on(host, "btmm", "wait", "--timeout", "40", timeout=60)
    seconds_until(lambda: not missing(fleet), BACK_S, "every host is back at the relay")
    proof.records(fleet)
    for client, server in (("macbook", "imac"), ("mini", "macbook")):
        proof.fetch(fleet, client, server)


def missing(fleet: Fleet) -> str:
    """What the zone has not as after enrolment."""
    try:
        proof.records(fleet)
    except AssertionError as error:
        return str(error)
    return ""


def reboot_router(fleet: Fleet, router: str, address: str) -> None:
    """Let a router come back with this outer address and nothing in its tables."""
    fleet.lab("unplug", router)
    fleet.shell(router, FORGET)
    fleet.lab("plug", router, "wan", address)
    fleet.on(router, "systemctl", "start", "lab-miniupnpd")


@contextmanager
def filtered(fleet: Fleet, host: str, rules: Sequence[str], device: str) -> Iterator[None]:
    """Let a host or a router pass over some of what comes to it by a device."""
    lines = "".join(f"iifname {device} {rule}\n" for rule in rules)
    text = f"table inet e2e {{\nchain input {{\ntype filter hook input priority -10\n{lines}}}\n}}"
    fleet.on(host, "nft", text)
    try:
        yield
    finally:
        fleet.on(host, "nft", "delete table inet e2e")


@contextmanager
def watcher_with(fleet: Fleet, host: str, settings: str) -> Iterator[None]:
    """Run a host's daemon with more settings of its unit."""
    apply = f"systemctl daemon-reload; systemctl restart {WATCHER}"
    fleet.shell(
        host, f"mkdir -p {UNIT_SETTINGS}; printf '[Service]\\n%s\\n' '{settings}' > {UNIT_SETTINGS}/fault.conf; {apply}"
    )
    try:
        yield
    finally:
        fleet.shell(host, f"rm -r {UNIT_SETTINGS}; {apply}")
