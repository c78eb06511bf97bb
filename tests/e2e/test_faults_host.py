# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the host itself: its daemon lives, tells, and is whole again when the fault is over."""

from __future__ import annotations

import json
import random
import re
import time

import pytest

from tests.e2e import faults, proof
from tests.e2e.fleet import CommandFailed, Fleet, seconds_until
from tests.e2e.proof import WATCHER, ZONE

CLOCK = "/run/clock-of-the-watcher"
# faketime lies about the time of day alone: so does a clock that was set wrong.
FAKE_CLOCK = (
    "Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME_NO_CACHE=1"
    f" DONT_FAKE_MONOTONIC=1 FAKETIME_TIMESTAMP_FILE={CLOCK}"
)
pytestmark = pytest.mark.usefixtures("whole")
KILLS = 20
KILL = f"systemctl kill --signal=KILL {WATCHER} || true"
# Killed, it is gone a moment later; without systemd's two seconds, so that the start is what gets killed next. Those of
# a former kill may end just now: then there is another one to kill.
START = (
    f"until [[ $(systemctl show --property=MainPID --value {WATCHER}) == 0 ]]; do {KILL}; sleep 0.05; done\n"
    f"systemctl reset-failed {WATCHER}; systemctl start --no-block {WATCHER}"
)
SUB_STATE = f"systemctl show --property=SubState --value {WATCHER}"


def main_pid(fleet: Fleet, host: str) -> str:
    return fleet.on(host, "systemctl", "show", "--property=MainPID", "--value", WATCHER).strip()


def answers(fleet: Fleet, host: str, address: str) -> bool:
    return " 0% packet loss" in fleet.shell(host, f"ping -c 1 -W 2 {address} || true")


def error(fleet: Fleet, host: str) -> str:
    return str(faults.status(fleet, host).get("error") or "")


def test_a_clock_that_jumps_is_told_and_when_it_is_right_again_the_host_is_published(fleet: Fleet) -> None:
    fleet.shell("mini", f"echo +0 > {CLOCK}")
    with faults.watcher_with(fleet, "mini", FAKE_CLOCK):
        fleet.on("mini", "btmm", "wait")
        proof.fetch(fleet, "mini", "macbook")
        macbook = proof.ula(fleet, "macbook")
        fleet.shell("mini", f"echo +2h > {CLOCK}")
        fleet.lab("plug", "mini", "wan", "203.0.113.21")  # something to publish
        try:
            seconds_until(lambda: "clock" in error(fleet, "mini"), faults.SOON_S, "mini says that its clock is wrong")
            told = error(fleet, "mini")
            assert re.match(r"mini: .*clock.*: set the clock", told), told
            # It can't ask for names, either; a peer that it had a tunnel to it reaches from its new address.
            seconds_until(lambda: answers(fleet, "mini", macbook), faults.SOON_S, "mini has its tunnel back")
            assert faults.outer(fleet, "mini") == {"203.0.113.20"}
        finally:
            fleet.shell("mini", f"echo +0 > {CLOCK}")
        seconds_until(lambda: faults.outer(fleet, "mini") == {"203.0.113.21"}, faults.BACK_S, "mini published its move")
        fleet.lab("plug", "mini", "wan")
    fleet.on("mini", "rm", CLOCK)


def test_a_clone_of_a_host_is_refused_with_both_names(fleet: Fleet) -> None:
    key = f"/etc/swanctl/private/btmm-{ZONE}.pem"
    before = fleet.on("mini", "cat", key)
    stolen = fleet.on("imac", "cat", key)
    fleet.shell("mini", f"cat > {key} <<'END'\n{stolen}END")
    try:
        run = fleet.playbook("site.yml", "--limit", "mini")
    finally:
        fleet.shell("mini", f"cat > {key} <<'END'\n{before}END")
    assert run.code != 0
    said = " ".join(run.output.split())
    assert re.search(
        r"mini: it carries the private key of host 'imac' .*: one is a clone of the other; delete", said
    ), said
    assert not run.recap["mini"].changed, run.output


def test_with_full_disks_the_daemon_lives_and_publishes_and_tells_again_when_there_is_room(fleet: Fleet) -> None:
    places = ("/var/lib/btmm", "/run/btmm")
    fleet.on("mini", "systemctl", "stop", WATCHER)
    for place in places:
        fleet.shell("mini", f"mkdir -p {place}; mount -t tmpfs -o size=64k tmpfs {place}")
    try:
        fleet.shell("mini", f"systemctl start {WATCHER}; btmm wait")
        pid = main_pid(fleet, "mini")
        for place in places:
            fleet.shell("mini", f"dd if=/dev/zero of={place}/filler bs=1k 2>/dev/null || true")
        mark = faults.now(fleet, "mini")
        fleet.lab("plug", "mini", "wan", "203.0.113.21")
        seconds_until(lambda: faults.outer(fleet, "mini") == {"203.0.113.21"}, faults.SOON_S, "mini published its move")
        assert proof.fetch(fleet, "mini", "imac")
        assert main_pid(fleet, "mini") == pid, "it did not live"
        assert re.search(r"No space left on device", faults.log(fleet, "mini", WATCHER, mark)), "it does not tell"
        for place in places:
            fleet.on("mini", "rm", f"{place}/filler")
        fleet.lab("plug", "mini", "wan")
        seconds_until(
            lambda: "203.0.113.20" in json.dumps(faults.status(fleet, "mini")),
            faults.SOON_S,
            "the status is true again",
        )
        assert main_pid(fleet, "mini") == pid
        fleet.on("mini", "systemctl", "stop", WATCHER)
    finally:
        for place in places:
            fleet.on("mini", "umount", place)
        fleet.on("mini", "systemctl", "start", WATCHER)


def test_of_two_watchers_the_second_says_so_and_ends_and_the_first_goes_on(fleet: Fleet) -> None:
    pid = main_pid(fleet, "imac")
    with pytest.raises(CommandFailed) as second:
        fleet.on("imac", "btmm", "watch", "--zone", ZONE)
    said = str(second.value).splitlines()[1:]
    assert len(said) == 1, said
    assert re.match(r"imac: another daemon holds \S+: ", said[0]), said
    assert main_pid(fleet, "imac") == pid


def test_a_daemon_that_hangs_is_replaced(fleet: Fleet) -> None:
    with faults.watcher_with(fleet, "mini", "WatchdogSec=5"):
        fleet.on("mini", "btmm", "wait", "--timeout", "30")
        pid, mark = main_pid(fleet, "mini"), faults.now(fleet, "mini")
        fleet.on("mini", "kill", "-STOP", pid)
        # A process that is stopped does not take SIGABRT: systemd waits another ten seconds before it uses SIGKILL.
        seconds_until(lambda: main_pid(fleet, "mini") not in {pid, "0"}, faults.SOON_S, "another daemon runs")
        assert "Watchdog timeout" in faults.log(fleet, "mini", WATCHER, mark)


def test_killed_at_any_moment_of_its_start_or_of_a_move_the_daemon_recovers(fleet: Fleet) -> None:
    chance = random.Random(4)  # noqa: S311 - the same moments each time, in parts of a start or a move
    places = ("cafe", "home")
    starting = 0
    begin = time.monotonic()
    fleet.on("macbook", "systemctl", "restart", WATCHER)
    start_s = time.monotonic() - begin
    try:
        for number in range(KILLS):
            if number % 2:
                fleet.lab("plug", "macbook", places[number // 2 % 2])
                time.sleep(chance.uniform(0, 1.2))
                fleet.shell("macbook", KILL)
            else:
                after_s = chance.uniform(0, start_s)
                starting += (
                    "start" in fleet.shell("macbook", f"{KILL}\n{START}\nsleep {after_s}\n{SUB_STATE}\n{KILL}").split()
                )
    finally:
        fleet.lab("plug", "macbook", "cafe")
    fleet.on("macbook", "btmm", "wait", "--timeout", "30", timeout=40)
    assert starting >= KILLS // 4, f"it was killed only {starting} times while it started"
    assert faults.status(fleet, "macbook").get("error") is None
    devices = fleet.shell("macbook", "ip -brief link show | grep -c ^btmm").strip()
    assert devices == "1", f"{devices} devices of the watcher"
