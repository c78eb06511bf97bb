# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios in the manner of strongSwan's testing: a sentence, two networks, steps, expected tunnels and packets."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template

from lab import topology
from tests.e2e import nat_grid, packets, proof
from tests.e2e.fleet import ROOT, CommandFailed, Fleet

FOLDER = ROOT / "tests" / "scenarios"
TOPOLOGY = ROOT / "lab" / "topologies" / "nat-grid.toml"
HOSTS = ("left", "right")
OWNER = "owner"  # stands for the controller
SETTLE_S = 10.0  # for both ends to drop what they have replaced
AGAIN_S = 0.3


@dataclass(frozen=True)
class Step:
    """A script on one host or several at once; for `within` seconds it is repeated until it `shows` what it has to."""

    on: tuple[str, ...]
    run: str
    shows: str = ""
    within: float = 0
    fails: bool = False


@dataclass(frozen=True)
class Packets:
    """How many packets of one kind crossed a segment: from `least` to `most`."""

    at: str
    match: str
    least: int
    most: float


@dataclass(frozen=True)
class Scenario:
    """What tests/scenarios/README.md describes."""

    name: str
    sentence: str
    networks: Mapping[str, str]
    steps: Sequence[Step]
    after: Sequence[Step]
    tunnels: Mapping[str, Sequence[str]]
    packets: Sequence[Packets]


def load(folder: Path) -> Scenario:
    """Read a scenario.

    Raises:
        TypeError, KeyError: a key is unknown or missing.
    """
    told = tomllib.loads((folder / "scenario.toml").read_text(encoding="utf-8"))
    scenario = Scenario(
        folder.name,
        told.pop("sentence"),
        {side: told["networks"].pop(side) for side in HOSTS},
        [_step(**step) for step in told.pop("steps")],
        [_step(**step) for step in told.pop("after", ())],
        told.pop("tunnels", {}),
        [_packets(**kind) for kind in told.pop("packets", ())],
    )
    if told.pop("networks") or told:
        raise KeyError(f"{folder.name}: {', '.join(told)} is no key of a scenario")
    return scenario


def all_of_them() -> list[Scenario]:
    """All scenarios, in an order in which the hosts move little."""
    found = [load(path.parent) for path in sorted(FOLDER.glob("*/scenario.toml"))]
    return sorted(found, key=lambda scenario: (*scenario.networks.values(), scenario.name))


class Stage:
    """The fleet on which scenarios are played, one after the other."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._topology = topology.load(TOPOLOGY)

    def play(self, scenario: Scenario) -> None:
        """Move the hosts, record the wires, take the steps; then look at tunnels and packets.

        Raises:
            AssertionError: something is not as the scenario says.
        """
        self._move(scenario.networks)
        nat_grid.forget_tunnels(self._fleet)
        words = self._words()
        captures = {kind.at: self._capture(scenario, kind.at) for kind in scenario.packets}
        try:
            with ExitStack() as wires:
                for segment, path in captures.items():
                    wires.enter_context(self._fleet.capture(segment, path))
                for step in scenario.steps:
                    self._take(step, words)
                self._judge_tunnels(scenario, words)
        finally:
            for step in scenario.after:
                self._take(step, words)
        for kind in scenario.packets:
            expression = Template(kind.match).substitute(words)
            number = packets.count(captures[kind.at], expression)
            assert kind.least <= number <= kind.most, f"{number} packets at {kind.at} are {expression}"

    def _capture(self, scenario: Scenario, segment: str) -> Path:
        return ROOT / "build" / f"{self._fleet.name}-{scenario.name}-{segment}.pcap"

    def _move(self, networks: Mapping[str, str]) -> None:
        for side, network in networks.items():
            nat_grid.move(self._fleet, side, nat_grid.segment(side, network))

    def _words(self) -> dict[str, str]:
        words = {"zone": proof.ZONE, "ike": packets.IKE, "keepalive": packets.KEEPALIVE}
        for side in HOSTS:
            words[side] = proof.ula(self._fleet, side)
            words[f"{side}_outer"] = self._outer(self._fleet.segment(side), side)
        return words

    def _outer(self, segment: str, host: str) -> str:
        """Return from which IPv4 address a host in this segment is seen on the WAN, behind however many routers."""
        while segment != "wan":
            host = next(
                name
                for name, router in self._topology.hosts.items()
                if any((i.name, i.segment) == ("lan", segment) for i in router.interfaces)
            )
            segment = next(i.segment for i in self._topology.hosts[host].interfaces if i.name == "wan")
        (interface,) = (i for i in self._topology.hosts[host].interfaces if i.segment == "wan")
        return str(interface.addresses[0].ip)

    def _take(self, step: Step, words: Mapping[str, str]) -> None:
        exports = "".join(f"{key.upper()}={words[key]}\n" for key in ("zone", *_addresses()))
        with ThreadPoolExecutor(len(step.on)) as pool:
            for _ in pool.map(lambda host: self._take_on(host, exports, step, words), step.on):
                pass

    def _take_on(self, host: str, exports: str, step: Step, words: Mapping[str, str]) -> None:
        end = time.monotonic() + step.within
        while True:
            try:
                said, failed = self._run(host, exports + step.run), False
            except CommandFailed as fault:
                said, failed = str(fault), True
            if failed == step.fails and re.search(Template(step.shows).substitute(words), said):
                return
            assert time.monotonic() < end, f"on {host}, {step.run.strip()!r} does not show {step.shows!r}:\n{said}"
            time.sleep(AGAIN_S)

    def _run(self, host: str, script: str) -> str:
        return self._fleet.owner(script) if host == OWNER else self._fleet.shell(host, script, timeout=90)

    def _judge_tunnels(self, scenario: Scenario, words: Mapping[str, str]) -> None:
        for host, expected in scenario.tunnels.items():
            patterns = [Template(pattern).substitute(words) for pattern in expected]
            end = time.monotonic() + SETTLE_S
            while not _fits(patterns, seen := list(self._associations(host))):
                assert time.monotonic() < end, f"{host} has {len(seen)} tunnels, and not {patterns}:\n{''.join(seen)}"
                time.sleep(AGAIN_S)

    def _associations(self, host: str) -> Iterator[str]:
        listed = self._fleet.on(host, "swanctl", "--list-sas")
        return (block for block in re.split(r"^(?=\S)", listed, flags=re.MULTILINE) if block)


def _fits(patterns: Sequence[str], seen: Sequence[str]) -> bool:
    """Tell whether there are as many associations as patterns, and each pattern has one."""
    return len(patterns) == len(seen) and all(any(re.search(p, one, re.DOTALL) for one in seen) for p in patterns)


def _addresses() -> tuple[str, ...]:
    return (*HOSTS, *(f"{side}_outer" for side in HOSTS))


def _step(*, on: str | list[str], **rest: object) -> Step:
    return Step((on,) if isinstance(on, str) else tuple(on), **rest)  # type: ignore[arg-type]  # TOML has no types


def _packets(*, at: str, match: str, least: int = 0, most: float | None = None) -> Packets:
    return Packets(at, match, least, (float("inf") if least else 0) if most is None else most)
