# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm browse`, `connect`, `doctor`, `status` on the enrolled fleet, whole and broken; what a kill leaves behind."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import proof
from tests.e2e.fleet import CommandFailed, Fleet
from tests.e2e.proof import ZONE

UNIT = f"btmm-watcher@{ZONE}"
HOSTS = ("imac", "macbook", "mini")
KILLS = 8


def status(fleet: Fleet, host: str) -> dict[str, Any]:
    """Return the status as programs read it; empty while no daemon runs."""
    told: dict[str, Any] = json.loads(fleet.shell(host, "btmm status --json || true") or "{}")
    return told


def faults(fleet: Fleet, host: str) -> dict[str, str]:
    """Return what the doctor finds broken: the fix by hop. Its exit code has to agree."""
    code, _, told = fleet.shell(
        host, "btmm doctor --json > /run/told && code=0 || code=$?; echo $code; cat /run/told"
    ).partition("\n")
    (findings,) = json.loads(told).values()
    broken = {finding["hop"]: finding["fix"] for finding in findings if not finding["ok"]}
    assert code == str(int(bool(broken))), told
    return broken


def refusal(fleet: Fleet, host: str, *command: str) -> str:
    """Return the one sentence with which a command fails."""
    with pytest.raises(CommandFailed) as failed:
        fleet.on(host, *command)
    lines = str(failed.value).strip().splitlines()[1:]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{host}: "), lines
    return lines[0]


def until_well(fleet: Fleet, host: str, within_s: float = 60) -> None:
    """Wait until the doctor finds nothing."""
    deadline = time.monotonic() + within_s
    while found := faults(fleet, host):
        assert time.monotonic() < deadline, found
        time.sleep(1)


@contextmanager
def stopped(fleet: Fleet, host: str, unit: str) -> Iterator[None]:
    """Stop a service for the length of the block."""
    fleet.on(host, "systemctl", "stop", unit)
    try:
        yield
    finally:
        fleet.on(host, "systemctl", "start", unit)


def test_a_whole_fleet_is_well_and_looking_changes_nothing(fleet: Fleet) -> None:
    before = proof.zone_records(fleet)
    for host in HOSTS:
        assert faults(fleet, host) == {}
    assert proof.zone_records(fleet) == before


def test_a_browser_lists_hosts_and_services_and_opens_no_tunnel(fleet: Fleet) -> None:
    proof.drop_tunnels(fleet, "macbook", "imac", "mini")
    listed = fleet.on("macbook", "btmm", "browse")
    for title in ("Bob's iMac", "Bob's mini", "Bob's MacBook"):
        assert title in listed
    (offers,) = json.loads(fleet.on("macbook", "btmm", "browse", "ssh", "--json")).values()
    assert {each["name"] for each in offers} == {f"imac.{ZONE}", f"mini.{ZONE}"}
    assert all(service["type"] == "_ssh._tcp" for each in offers for service in each["services"])
    assert not fleet.on("macbook", "swanctl", "--list-sas").strip()


def test_connect_opens_a_tunnel_and_says_which_way(fleet: Fleet) -> None:
    proof.drop_tunnels(fleet, "macbook", "imac")
    opened = json.loads(fleet.on("macbook", "btmm", "connect", "imac", "--json"))
    assert opened["name"] == f"imac.{ZONE}"
    assert opened["address"] == proof.ula(fleet, "imac")
    assert opened["outer"].startswith(f"{proof.WAN['imac']}:")
    assert f"imac.{ZONE}" in [peer["name"] for peer in status(fleet, "macbook")["peers"]]
    assert faults(fleet, "macbook") == {}
    assert "1280 octets there and back" in fleet.on("macbook", "btmm", "doctor")


def test_connect_to_nobody_says_so(fleet: Fleet) -> None:
    assert "no host of" in refusal(fleet, "macbook", "btmm", "connect", "nobody")


def test_metrics_are_readable_and_true(fleet: Fleet) -> None:
    text = fleet.on("mini", "cat", f"/run/btmm/{ZONE}/metrics.prom")
    assert text == fleet.on("mini", "btmm", "status", "--prometheus")
    sample = re.compile(r'btmm_[a-z_]+\{zone="[^"]+"(,[a-z]+="[^"]*")*\} \d+')
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert all(sample.fullmatch(line) for line in text.splitlines() if not line.startswith("#")), text
    assert values[f'btmm_up{{zone="{ZONE}"}}'] == "1"
    left = int(values[f'btmm_lease_expires_timestamp_seconds{{zone="{ZONE}"}}']) - time.time()
    assert 0 < left <= 7200


def test_a_stopped_charon_is_named(fleet: Fleet) -> None:
    with stopped(fleet, "macbook", "strongswan.service"):
        assert "restart strongswan" in faults(fleet, "macbook")["charon"]
        assert "charon" in refusal(fleet, "macbook", "btmm", "connect", "imac")
    until_well(fleet, "macbook")


def test_a_guard_that_is_gone_is_named(fleet: Fleet) -> None:
    fleet.on("imac", "nft", "delete", "table", "inet", f"btmm_guard_{ZONE}")
    broken = faults(fleet, "imac")
    assert list(broken) == ["guard"]
    fleet.shell("imac", broken["guard"])
    assert faults(fleet, "imac") == {}


def test_a_gateway_that_maps_nothing_is_named(fleet: Fleet) -> None:
    with stopped(fleet, "nat-cafe", "lab-miniupnpd.service"):
        fleet.on("macbook", "systemctl", "restart", "--no-block", UNIT)
        deadline = time.monotonic() + 60
        while status(fleet, "macbook").get("rung") != "relayed" or not status(fleet, "macbook").get("unmapped"):
            assert time.monotonic() < deadline, status(fleet, "macbook")
            time.sleep(1)
        told = fleet.on("macbook", "btmm", "doctor")
        assert re.search(r"ok     gateway: the gateway 192\.168\.20\.1 .*; reached by the relay zone\.", told), told
        assert "relayed" in fleet.on("macbook", "btmm", "status")
    fleet.on("macbook", "systemctl", "restart", UNIT)
    until_well(fleet, "macbook")


def test_names_and_tunnels_go_on_without_the_zone_and_the_zone_comes_back(fleet: Fleet) -> None:
    asked = f"btmm connect imac >/dev/null; btmm browse >/dev/null; dig +short _ssh._tcp.{ZONE} PTR"
    before = fleet.shell("macbook", asked)
    proof.drop_tunnels(fleet, "macbook", "imac")
    with stopped(fleet, "zone", "named.service"):
        fleet.on("macbook", "btmm", "connect", "imac")
        assert sorted(fleet.shell("macbook", asked).split()) == sorted(before.split())
        assert "This is imac" in fleet.on("macbook", "curl", "-s", "--max-time", "10", f"http://imac.{ZONE}/")
        assert status(fleet, "macbook")["last_known"]
        assert "last known since" in fleet.on("macbook", "bash", "-c", "btmm status || true")
        assert next(iter(faults(fleet, "macbook"))) == "zone"
    until_well(fleet, "macbook")
    deadline = time.monotonic() + 70
    while status(fleet, "macbook")["last_known"]:
        assert time.monotonic() < deadline, status(fleet, "macbook")
        time.sleep(1)


def test_a_daemon_that_starts_without_the_zone_knows_what_was_written(fleet: Fleet) -> None:
    """Stopped in order, so that the table is on disk; started while nobody serves the zone, nor publishes."""
    fleet.on("macbook", "btmm", "connect", "imac")
    proof.drop_tunnels(fleet, "macbook", "imac")
    fleet.on("macbook", "systemctl", "stop", UNIT)
    with stopped(fleet, "zone", "named.service"):
        fleet.on("macbook", "systemctl", "start", UNIT)
        fleet.on("macbook", "btmm", "connect", "imac")
        other = fleet.shell("macbook", "dig +short +time=2 +tries=1 example.com | head -1 || true")
    until_well(fleet, "macbook")
    assert not other.strip() or "127." not in other  # nobody but the zone's names is answered from the table


def test_the_playbooks_report_each_host_and_stop_the_broken_ones(fleet: Fleet) -> None:
    assert fleet.playbook("playbooks/status.yml").code == 0
    fleet.on("imac", "nft", "delete", "table", "inet", f"btmm_guard_{ZONE}")
    fleet.shell("macbook", "systemctl stop ssh.service ssh.socket 2>/dev/null; pkill -f 'sshd.*[n]otty' || true")
    try:
        run = fleet.playbook("playbooks/doctor.yml")
        limited = fleet.playbook("playbooks/doctor.yml", "--limit", "mini")
    finally:
        fleet.on("macbook", "systemctl", "start", "ssh.service")
        fleet.on("imac", "systemctl", "restart", f"btmm-guard@{ZONE}")
    assert (run.recap["imac"].failed, run.recap["macbook"].unreachable, run.recap["mini"].failed) == (1, 1, 0), (
        run.output
    )
    assert re.search(r"imac: guard: its table", " ".join(run.output.split())), run.output
    assert list(limited.recap) == ["mini"]
    assert limited.code == 0, limited.output


def test_a_daemon_that_is_killed_at_any_moment_recovers(fleet: Fleet) -> None:
    chance = random.Random(4)  # noqa: S311 - the same moments each time
    script = f"kill -9 $(systemctl show -p MainPID --value {UNIT}) 2>/dev/null || true"
    for _ in range(KILLS):
        fleet.shell("mini", script)
        time.sleep(2 + chance.uniform(0, 1.5))  # RestartSec, then a random moment of the start
    fleet.on("mini", "btmm", "wait", "--timeout", "30")
    until_well(fleet, "mini")
    proof.records(fleet)
    links = [line for line in fleet.on("mini", "ip", "-o", "link").splitlines() if ": btmm-" in line]
    assert len(links) == 1, links
    proof.fetch(fleet, "mini", "imac")


def test_half_written_files_are_swept_and_damaged_ones_made_anew(fleet: Fleet) -> None:
    state = f"/var/lib/btmm/{ZONE}"
    fleet.shell(
        "mini",
        f"systemctl stop {UNIT}; touch -d '1 hour ago' {state}/.published.json.0011223344556677.new;"
        f"for file in {state}/*.json /var/lib/btmm/*.json; do [ ! -e $file ] || truncate -s 40 $file; done;"
        f"systemctl start {UNIT}; btmm wait",
    )
    assert ".new" not in fleet.on("mini", "ls", "-A", state)
    assert faults(fleet, "mini") == {}
    proof.records(fleet)


def test_a_full_disk_is_told_and_harms_nothing(fleet: Fleet) -> None:
    state = f"/var/lib/btmm/{ZONE}"
    full = f"mount -t tmpfs -o size=4k full {state} && head -c 4096 /dev/zero > {state}/filler"
    fleet.shell("mini", f"systemctl stop {UNIT}; {full}; systemctl start {UNIT}; btmm wait")
    try:
        assert "No space left" in status(fleet, "mini")["disk"]
        assert next(iter(faults(fleet, "mini"))) == "disk"
        proof.fetch(fleet, "mini", "imac")
        proof.records(fleet)
    finally:
        fleet.shell("mini", f"systemctl stop {UNIT}; umount {state}; systemctl start {UNIT}; btmm wait")
    assert faults(fleet, "mini") == {}


def test_a_second_daemon_of_a_zone_gives_way(fleet: Fleet) -> None:
    told = refusal(fleet, "mini", "btmm", "watch", "--zone", ZONE)
    assert "another daemon holds" in told
    assert faults(fleet, "mini") == {}
