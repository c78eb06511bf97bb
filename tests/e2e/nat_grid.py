# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts walk through every pair of networks, and in each the one opens the other's page by name.

What was seen becomes docs/nat-grid.md.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.e2e import proof
from tests.e2e.fleet import ROOT, CommandFailed, Fleet, seconds_until
from tests.e2e.proof import ZONE

DOCUMENT = ROOT / "docs" / "nat-grid.md"
INTRODUCTION = """\
# Who reaches whom through which NAT

Made by `tests/e2e/test_nat_grid.py`, which plugs two hosts of the rehearsal fleet
(`lab/topologies/nat-grid.toml`) into every pair of networks. In each the left one opens the right one's page by
name, with no tunnel before: the way it took, and seconds from the name to the first byte. `BTMM_DOCS=1 make e2e`
writes it again. The ways are those of `docs/architecture.md`; of a mediated tunnel only the beginning goes by the
zone host.
"""
KINDS = {
    "none": "a public address, IPv4 and IPv6",
    "mapped": "NAT that keeps ports and maps them on request (PCP, NAT-PMP, UPnP)",
    "cone": "the same without port mapping",
    "random": "NAT with another port for each peer (symmetric), without port mapping",
    "double": "a router behind a router, the inner one maps",
    "cgnat": "a router behind a carrier's NAT (100.64.0.0/10), port mapping refused",
    "six": "IPv6 alone",
}
# By which way a host in such a network is reached from outside, as its status has it.
REACHED = {
    "none": "direct",
    "mapped": "direct",
    "cone": "mediated",
    "random": "relayed",
    "double": "mediated",
    "cgnat": "relayed",
    "six": "direct6",
}
SETTLE_S = 60
TRIES = 3  # a call by the best way may take too long where the machine has other work, and the next one is taken
FETCH_S = 20
RELAYED = "relayed"
SHOWN_S = 1.5  # after which `btmm status` shows what charon did
WANTED_S = 70  # for so long an end may try to get a tunnel back
# Within which a relayed tunnel, of a moment when the other end was not mapped yet, becomes a better one: it is tried at
# 0, 5 and 15 s.
BETTER_S = 40
# Runs on a host: waits until its daemon has published from the network that it was just plugged into by this way.
SETTLED = """
import json, pathlib, sys, time
before, rung, deadline = json.loads(sys.argv[1]), sys.argv[2], time.monotonic() + float(sys.argv[3])
while True:
    status = json.loads(pathlib.Path(sys.argv[4]).read_text())
    if status.get("published") != before and status.get("rung") == rung and not status.get("error"):
        break
    if time.monotonic() > deadline:
        sys.exit(f"not published as {rung}: {status}")
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class Outcome:
    """One pair: by which rung the page came, after how many seconds, and what was said before or instead."""

    rung: str | None
    seconds: float
    sentence: str = ""

    def __str__(self) -> str:
        if not self.rung:
            return f"no: {self.sentence}"
        return f"{self.rung}, {self.seconds:.2f} s" + (f", before: {self.sentence}" if self.sentence else "")


Grid = Mapping[tuple[str, str], Outcome]


def pairs() -> Iterator[tuple[str, str]]:
    """Every pair (left, right), such that only one of the two moves from each to the next."""
    kinds = list(KINDS)
    for row, left in enumerate(kinds):
        for right in kinds if row % 2 == 0 else reversed(kinds):
            yield left, right


def fitting(best: Mapping[tuple[str, str], str], pair: tuple[str, str]) -> set[str]:
    """Return the ways that are right for a pair: that of left's call, and of right's, which may have called as well."""
    return {best[pair], best[pair[::-1]]}


def walk(fleet: Fleet, best: Mapping[tuple[str, str], str]) -> Grid:
    """Put both hosts in every pair of networks, in each of which the best way is expected."""
    found: dict[tuple[str, str], Outcome] = {}
    for pair in pairs():
        for side, kind in zip(("left", "right"), pair, strict=True):
            move(fleet, side, segment(side, kind))
        found[pair] = fetch(fleet, best[pair])
        for _ in range(1, TRIES):
            if found[pair].rung in fitting(best, pair):
                break
            # It would go by the way that led there last.
            fleet.shell("left", f"systemctl restart {proof.WATCHER}; btmm wait --timeout {SETTLE_S}", SETTLE_S + 10)
            found[pair] = fetch(fleet, best[pair])
    return found


def status(fleet: Fleet, host: str) -> dict[str, object]:
    """What `btmm status` tells; it exits with 1 when it tells of a fault."""
    told: dict[str, object] = json.loads(fleet.shell(host, "btmm status --json || true"))
    return told


def segment(side: str, network: str) -> str:
    """Return the segment that is this kind of network for this host; one that is named itself."""
    kind = f"{side}-{network}" if network in KINDS else network
    return "wan" if network == "none" else kind


def move(fleet: Fleet, side: str, target: str) -> None:
    """Plug a host in elsewhere, and wait until it is published as it is reached there.

    Raises:
        AssertionError: it is not, within SETTLE_S.
    """
    if fleet.segment(side) == target:
        return
    before = json.dumps(status(fleet, side).get("published"))
    kind = "none" if target == "wan" else target.partition("-")[2]
    fleet.lab("plug", side, target)
    words = (before, REACHED[kind], str(SETTLE_S), f"/run/btmm/{ZONE}/status.json")
    fleet.on(side, "python3", "-c", SETTLED, *words, timeout=SETTLE_S + 10)
    if kind == "none":
        # Its IPv6 address is tentative for a while (RFC 4862 section 5.4), and published after the other one.
        seconds_until(lambda: "AAAA" in families(fleet, side), SETTLE_S, f"{side} is published with both families")


def families(fleet: Fleet, host: str) -> set[str]:
    """Return of which types the addresses are at which the zone has a host reached directly."""
    targets = {target for priority, _, _, target in proof.ways(fleet, host) if priority == "10"}
    return {kind for owner, kind, _ in proof.zone_records(fleet) if owner in targets}


def fetch(fleet: Fleet, best: str) -> Outcome:
    """Open right's page on left by name, no tunnel before; a relayed one may become better if it should be."""
    forget_tunnels(fleet)
    begin = time.monotonic()
    url = f"http://right.{ZONE}/"
    curl = ("curl", "-sS", "--fail", "--max-time", str(FETCH_S), "--write-out", r"\n%{time_starttransfer}", url)
    faults: list[str] = []
    while True:
        tried = time.monotonic() - begin if faults else 0.0
        try:
            body, seconds = fleet.on("left", *curl).rsplit("\n", 1)
            break
        except CommandFailed as fault:
            faults.append(reason(fleet) or str(fault).splitlines()[-1])
        if time.monotonic() - begin > FETCH_S:
            return Outcome(None, tried, "; ".join(faults))
    assert "right" in body, body
    deadline = time.monotonic() + BETTER_S
    while (rung := way(fleet)) is None or (rung == RELAYED != best and time.monotonic() < deadline):
        assert time.monotonic() < deadline, "the page came, but `btmm status` shows no tunnel to right"
        time.sleep(0.2)
    return Outcome(rung, tried + float(seconds), "; ".join(faults))


def forget_tunnels(fleet: Fleet) -> None:
    """Take all tunnels down, until left's status shows none: else the way before would be taken for the one to come."""
    deadline = time.monotonic() + WANTED_S
    while True:
        proof.drop_tunnels(fleet, "left", "right")
        time.sleep(SHOWN_S)
        if way(fleet) is None:
            return
        # A tunnel that was in use is got back after a move; once it is, its end is an end.
        assert time.monotonic() < deadline, "`btmm status` shows a tunnel that was dropped again and again"


def way(fleet: Fleet) -> str | None:
    """The rung of left's tunnel to right."""
    peers = status(fleet, "left")["peers"]
    assert isinstance(peers, list)
    return next((peer["rung"] for peer in peers if peer["name"] == f"right.{ZONE}"), None)


def reason(fleet: Fleet) -> str:
    """The one sentence with which the stub says why a name has no answer (RFC 8914), or the status'."""
    answer = fleet.shell("left", f"dig +timeout=15 +tries=1 right.{ZONE} AAAA || true")
    told = re.search(r"; EDE: [^(]*\((?P<text>.*)\)", answer)
    return told["text"] if told else str(status(fleet, "left").get("error") or "")


def document(grid: Grid) -> str:
    """docs/nat-grid.md."""
    lines = [
        *INTRODUCTION.splitlines(),
        "",
        "| network | what it is |",
        "| --- | --- |",
        *(f"| {kind} | {text} |" for kind, text in KINDS.items()),
        "",
        f"| from, to | {' | '.join(KINDS)} |",
        f"|{' --- |' * (len(KINDS) + 1)}",
        *(f"| **{left}** | {' | '.join(str(grid[left, right]) for right in KINDS)} |" for left in KINDS),
        "",
    ]
    return "\n".join(lines)
