# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases on real BIND: who does not refresh is swept, who does is never, and strays go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tests.e2e import proof
from tests.e2e.fleet import Fleet, seconds_until
from tests.e2e.proof import ZONE

KEY = "/etc/bind/btmm/admin.key"
DIG = f"dig @127.0.0.1 +short -k {KEY}"


def sweep(fleet: Fleet, *more: str) -> list[str]:
    """Run the timer's service, or the same command with more options; return the lines it prints."""
    if more:
        return fleet.on("zone", "btmm-sweep", "@/etc/bind/btmm/sweep.args", *more).splitlines()
    mark = fleet.on("zone", "date", "+%s.%N").strip()
    fleet.on("zone", "systemctl", "start", "btmm-sweep.service")
    log = ("journalctl", f"--since=@{mark}", "--unit=btmm-sweep.service", "--output=cat", "--identifier=btmm-sweep")
    return fleet.on("zone", *log).splitlines()


def write(fleet: Fleet, *lines: str) -> None:
    """Send one UPDATE with the owner's key."""
    text = "\n".join(["server 127.0.0.1", *(f"update {line}" for line in lines), "send"])
    fleet.shell("zone", f"nsupdate -v -k {KEY} <<'END'\n{text}\nEND")


def aged(fleet: Fleet, host: str, hours: int) -> None:
    """Have the zone say that a host was last heard of some hours ago."""
    when = f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
    name = f"_lease.{host}.{ZONE}."
    write(fleet, f"delete {name} TXT", f'add {name} 120 TXT "refreshed={when}" "lease=7200"')


@contextmanager
def dead(fleet: Fleet, host: str) -> Iterator[None]:
    """Have a host die without a word; afterwards it comes back and publishes itself."""
    drop_in = f"/run/systemd/system/{proof.WATCHER}.d"
    fleet.shell(
        host,
        f"mkdir {drop_in}; printf '[Service]\\nRestart=no\\n' > {drop_in}/dead.conf; systemctl daemon-reload\n"
        f"systemctl kill --signal=KILL {proof.WATCHER}",
    )
    try:
        yield
    finally:
        fleet.shell(host, f"rm -r {drop_in}; systemctl daemon-reload; systemctl start {proof.WATCHER}; btmm wait")


def of_host(fleet: Fleet, host: str) -> set[tuple[str, str, str]]:
    """Return the records of the zone in which a host or its title occurs."""
    return {record for record in proof.zone_records(fleet) if re.search(host, " ".join(record), re.IGNORECASE)}


def trace(fleet: Fleet, host: str) -> str:
    """Return the trace of a host's lease."""
    return fleet.on("zone", *DIG.split(), f"_lease.{host}.{ZONE}", "TXT").strip()


def pointer(fleet: Fleet, host: str) -> str:
    """Return the name that a host's ULA leads to."""
    return fleet.on("zone", *DIG.split(), "-x", proof.ula(fleet, host)).strip()


def test_the_timer_runs(fleet: Fleet) -> None:
    timers = fleet.on("zone", "systemctl", "list-timers", "--no-legend", "btmm-sweep.timer")
    assert "btmm-sweep.service" in timers
    assert not sweep(fleet)


def test_a_dead_host_is_swept_whole_and_alone_and_comes_back(fleet: Fleet) -> None:
    before = proof.zone_records(fleet) - of_host(fleet, "macbook")
    with dead(fleet, "macbook"):
        assert of_host(fleet, "macbook")
        aged(fleet, "macbook", 1)
        assert not sweep(fleet)
        aged(fleet, "macbook", 3)
        planned = sweep(fleet, "--dry-run")
        assert of_host(fleet, "macbook")
        done = sweep(fleet)
        assert [line.replace("would remove", "removed") for line in planned] == done
        assert len(done) == 2, done
        assert re.match(rf"removed host macbook\.{ZONE}\. \(\d+ records\): its lease of 7200 s ran out, ", done[0])
        assert re.match(rf"removed pointer \S+ip6\.arpa\. to macbook\.{ZONE}\.: ", done[1])
        # The target of the tunnel bears no name: nothing beside the others' records may be left.
        held = {record for record in proof.zone_records(fleet) if record[1] != "A"}
        assert held == {record for record in before if record[1] != "A"}
        assert not pointer(fleet, "macbook")
        assert not sweep(fleet)
    proof.records(fleet)
    assert pointer(fleet, "macbook") == f"macbook.{ZONE}."
    proof.fetch(fleet, "imac", "macbook")


def test_a_host_that_refreshes_between_reading_and_removing_is_left(fleet: Fleet) -> None:
    # The sweeper's own code, stopped between its plan and its removals: meanwhile the host restarts, and refreshes.
    program = """
import pathlib, sys, time
sys.path.insert(0, "/usr/local/sbin/btmm-sweep")
from ansible_collections.btmm.fleet.plugins.module_utils import sweep
from sweeper import cli
plan = sweep.host_removals
def later(*arguments):
    removals = list(plan(*arguments))
    print("planned", len(removals), flush=True)
    pathlib.Path("/run/planned").touch()
    while pathlib.Path("/run/planned").exists():
        time.sleep(0.1)
    return removals
sweep.host_removals = later
sys.exit(cli.main(["@/etc/bind/btmm/sweep.args"]))
"""
    until = "for _ in {1..100}; do %s && exit; sleep 0.2; done; exit 1"
    aged(fleet, "macbook", 3)
    old = trace(fleet, "macbook")
    with fleet.started("zone", "python3", "-c", program) as said:
        fleet.shell("zone", until % "[[ -e /run/planned ]]")
        fleet.on("macbook", "systemctl", "kill", "--signal=KILL", proof.WATCHER)
        fleet.shell("zone", until % f"[[ '{old}' != $({DIG} _lease.macbook.{ZONE} TXT) ]]")
        fleet.on("zone", "rm", "/run/planned")
        printed = said()
    assert "planned 1" in printed
    assert re.search(rf"left host macbook\.{ZONE}\. .*: it changed meanwhile", printed), printed
    assert "removed" not in printed
    proof.records(fleet)


def test_when_no_host_is_alive_the_clock_is_suspected(fleet: Fleet) -> None:
    for host in proof.WAN:
        aged(fleet, host, 3)
    try:
        said = sweep(fleet)
        assert len(said) == 1
        assert said[0].startswith("nothing is removed: 3 leases ran out and none runs")
    finally:
        for host in proof.WAN:
            fleet.shell(host, f"systemctl restart {proof.WATCHER}; btmm wait")
    proof.records(fleet)


def test_strays_go_and_static_hosts_stay(fleet: Fleet) -> None:
    static = ("printer", "_ipp._tcp", "Printer._ipp._tcp")
    good = [
        f"printer.{ZONE}. 60 AAAA fd00::9",
        f"Printer._ipp._tcp.{ZONE}. 60 SRV 0 0 631 printer.{ZONE}.",
        f"_ipp._tcp.{ZONE}. 60 PTR Printer._ipp._tcp.{ZONE}.",
        f"_services._dns-sd._udp.{ZONE}. 60 PTR _ipp._tcp.{ZONE}.",
    ]
    bad = [
        f"_ssh._tcp.{ZONE}. 4500 PTR evil._ssh._tcp.attacker.example.",
        f"_ssh._tcp.{ZONE}. 4500 PTR ghost._ssh._tcp.{ZONE}.",
        f"_services._dns-sd._udp.{ZONE}. 4500 PTR _gone._tcp.{ZONE}.",
    ]
    write(fleet, *(f"add {line}" for line in good))
    expected = proof.zone_records(fleet)
    write(fleet, *(f"add {line}" for line in bad))
    try:
        assert len(sweep(fleet)) == len(bad)
        assert proof.zone_records(fleet) == expected
    finally:
        write(fleet, *(f"delete {name}.{ZONE}." for name in static))
        write(fleet, f"delete _services._dns-sd._udp.{ZONE}. PTR _ipp._tcp.{ZONE}.")
    proof.records(fleet)


def test_an_idle_host_sends_its_refresh_and_nothing_else(fleet: Fleet) -> None:
    """With a lease of 30 s it is due after 24 to 25.5 s, and then after 48 s."""
    change = 'sed -i \'s/"lease": %d/"lease": %d/\' %s/watcher.json; systemctl restart %s; btmm wait'
    fleet.shell("mini", change % (7200, 30, proof.FOLDER, proof.WATCHER))
    try:
        # A start publishes twice: without the relay, and with it.
        seconds_until(lambda: proof.priorities(fleet, "mini") == {"10", "20", "30"}, 30, "mini is at the relay")
        mark = fleet.on("zone", "date", "+%s.%N").strip()
        time.sleep(35)
        log = fleet.on("zone", "journalctl", "--unit=named", "--output=cat", f"--since=@{mark}")
        assert (
            len(re.findall(rf"/key mini\.{ZONE}: updating zone '{ZONE}/IN': adding an RR at '_lease\.mini", log)) == 1
        )
        assert len(re.findall(rf"/key mini\.{ZONE}: updating zone \S+ adding an RR at 'mini\.{ZONE}' AAAA", log)) == 1
    finally:
        fleet.shell("mini", change % (30, 7200, proof.FOLDER, proof.WATCHER))
    proof.records(fleet)
