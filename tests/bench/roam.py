# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon traffic flows again after a host has moved: with this collection, with Nebula, with tinc."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface

from lab import topology
from lab.fabric import Fabric
from tests.bench import outage
from tests.bench.idle import Rest, at_rest
from tests.bench.overlays import Nebula, Ours, Overlay, Tinc
from tests.bench.report import report, table
from tests.e2e.fleet import ROOT, Fleet

FILE = ROOT / "lab" / "topologies" / "roam.toml"
PATIENCE_S = 75.0  # Nebula's mover tells its lighthouse once a minute
CALM_S = 1.5  # of replies between two moves: what a move has left to do is done by then
OTHER = {"peer": "mover", "mover": "peer"}
CASES = {
    "silent mover": ("peer", "mover"),  # who sends, who began the tunnel
    "talking mover": ("mover", "mover"),
    "responder moves": ("peer", "peer"),
    "NAT reboots": ("peer", "mover"),
}


@dataclass
class Outages:
    """Seconds of one case's moves; a move after which nothing came within PATIENCE_S counts as that, and as lost."""

    seconds: list[float] = field(default_factory=list)
    lost: int = 0

    def add(self, seconds: float | None) -> None:
        self.seconds.append(PATIENCE_S if seconds is None else seconds)
        self.lost += seconds is None


@dataclass
class Measured:
    """Of one overlay: outages by case, how often the TCP connection broke, and what it takes at rest."""

    cases: dict[str, Outages] = field(default_factory=dict)
    broken: int = 0
    rest: dict[str, Rest] = field(default_factory=dict)

    def all(self) -> list[float]:
        return [seconds for outages in self.cases.values() for seconds in outages.seconds]


class Moves:
    """Moves the mover's cable, or reboots its router; each move is to another address."""

    def __init__(self, fleet: Fleet) -> None:
        definition = topology.load(FILE)
        self._fleet = fleet
        self._fabric = Fabric(fleet.name, definition)
        self._mover = definition.host("mover")
        self._router = definition.host("nat-home")
        self._places = itertools.cycle([("cafe", "192.168.20.10/24"), ("home", "192.168.10.10/24")])
        self._at = ""
        self._outer = itertools.cycle(["203.0.113.111/24", "203.0.113.112/24", "203.0.113.101/24"])

    def home(self) -> None:
        """Be at home, at first."""
        while self._at != "home":
            self.plug()

    def plug(self) -> float:
        """Change to the other network; returns the time of day at which the default route was there."""
        self._at, address = next(self._places)
        self._fabric.plug(self._mover, "eth0", self._at, (ip_interface(address),))
        return time.time()

    def reboot(self) -> float:
        """Let the router come back with another outer address and nothing in its tables; returns when it had it."""
        forget = "systemctl stop lab-miniupnpd; nft -f /etc/nftables.conf; conntrack -F 2>/dev/null"
        start = "until ip -4 -brief address show wan | grep -q 203; do sleep 0.01; done; systemctl start lab-miniupnpd"
        self._fabric.unplug(self._router, "wan")
        self._fleet.shell("nat-home", forget)
        with self._fleet.started("nat-home", "sh", "-c", start) as started:
            time.sleep(0.3)  # until that waits
            self._fabric.plug(self._router, "wan", "wan", (ip_interface(next(self._outer)),))
            when = time.time()
            started()
        return when


def measure(overlay: Overlay, fleet: Fleet, moves: Moves, count: int) -> Measured:
    """Run all cases of one overlay, with one TCP connection alive over all of them."""
    measured = Measured()
    moves.home()
    overlay.start()
    overlay.connect("peer", "mover")
    with outage.stream(fleet, "peer", "mover", overlay.address("mover")) as stream:
        for case, (source, initiator) in CASES.items():
            moves.home()
            time.sleep(CALM_S)
            with stream.paused():
                overlay.connect(initiator, OTHER[initiator])
            act = moves.reboot if case == "NAT reboots" else moves.plug
            outages = measured.cases[case] = Outages()
            with outage.pings(fleet, source, overlay.address(OTHER[source])) as pings:
                for _ in range(count):
                    pings.mark(time.time())
                    if pings.after_mark(PATIENCE_S) is None:
                        raise SystemExit(f"{overlay.name}, {case}: no traffic before a move, so none can come back")
                    time.sleep(CALM_S)
                    pings.mark(math.inf)
                    pings.mark(act())
                    seconds = pings.after_mark(PATIENCE_S)
                    outages.add(seconds)
                    if seconds is None:
                        overlay.connect(initiator, OTHER[initiator])
            say(f"{overlay.name}, {case}: {', '.join(f'{each:.2f}' for each in outages.seconds)}")
    measured.broken = stream.broken
    return measured


def centile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def outage_rows(overlays: Mapping[str, Measured]) -> list[list[str]]:
    """The table of outages."""
    rows = [["outage after", "of", "moves", "p50", "p95", "longest", "no traffic in 75 s"]]
    for case in CASES:
        for name, measured in overlays.items():
            outages = measured.cases[case]
            figures = (centile(outages.seconds, 50), centile(outages.seconds, 95), max(outages.seconds))
            rows.append(
                [case, name, str(len(outages.seconds)), *(f"{each:.2f} s" for each in figures), str(outages.lost)]
            )
    return rows


def rest_rows(overlays: Mapping[str, Measured], seconds: float) -> list[list[str]]:
    """The table of what each takes at rest."""
    return [
        [f"at rest, over {seconds:.0f} s", "resident MiB", "CPU %", "wake-ups/s"],
        *(
            [f"`{program}`", f"{rest.rss_mib:.1f}", f"{rest.cpu_percent:.2f}", f"{rest.wakeups_s:.1f}"]
            for measured in overlays.values()
            for program, rest in measured.rest.items()
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=30, help="of each case (%(default)s)")
    parser.add_argument("--other-moves", type=int, default=8, help="the same for Nebula and tinc (%(default)s)")
    parser.add_argument("--rest", type=float, default=300, metavar="S", help="how long they are watched (%(default)s)")
    parser.add_argument("--only", choices=["btmm", "nebula", "tinc"], help="measure one of the three")
    given = parser.parse_args()
    fleet = Fleet(os.environ.get("BTMM_FLEET", "bench_roam"), "tests/bench/roam_fleet")
    fleet.lab("--topology", str(FILE), "up", timeout=300)
    ours, moves = Ours(fleet), Moves(fleet)
    everyone: tuple[Overlay, ...] = (ours, Nebula(fleet), Tinc(fleet))
    wanted = [overlay for overlay in everyone if given.only in {None, overlay.name}]
    if ours in wanted:
        run = fleet.playbook("site.yml")
        if run.code:
            raise SystemExit(run.output)
    measured: dict[str, Measured] = {}
    first_bytes: list[float] = []
    for overlay in everyone:
        overlay.stop()
    for overlay in wanted:
        found = measured[overlay.name] = measure(
            overlay, fleet, moves, given.moves if overlay is ours else given.other_moves
        )
        if overlay is ours:
            first_bytes = [ours.first_byte() for _ in range(given.moves)]
            ours.connect("mover", "peer")
        time.sleep(CALM_S)
        found.rest = at_rest(fleet, "mover", overlay.programs, given.rest)
        overlay.stop()
    if not os.environ.get("BTMM_KEEP"):
        fleet.lab("down")
    numbers = {f"{name}_p50_s": centile(found.all(), 50) for name, found in measured.items() if name != ours.name}
    if ours.name in measured:
        found = measured[ours.name]
        numbers |= {
            "p50_s": centile(found.all(), 50),
            "p95_s": centile(found.all(), 95),
            "max_s": max(found.all()),
            "tcp_broken": found.broken,
            "connect_p50_s": centile(first_bytes, 50),
            "rss_mib": found.rest[ours.programs[0]].rss_mib,
        }
    broken = "; ".join(f"{name}: TCP connection broken {found.broken} times" for name, found in measured.items())
    say(broken)
    table(rest_rows(measured, given.rest))
    report("roam", outage_rows(measured), numbers, ["strongSwan 5.9.8", "Nebula 1.6.1", "tinc 1.0.36", broken])


if __name__ == "__main__":
    main()
