# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm doctor`: names the broken hop, and how to mend it. Changes nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from watcher import places

from .shared import as_json, host, read_status

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from watcher.checks import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Print what each check saw; 1 when one found a fault."""
    found = {zone: list(examine(zone)) for zone in zones}
    if given.json:
        plain = {
            zone: [{**dataclasses.asdict(finding), "ok": finding.ok} for finding in findings]
            for zone, findings in found.items()
        }
        print(as_json(plain))
    else:
        for zone, findings in found.items():
            print("\n".join([zone, *lines(findings)]))
    return int(any(not finding.ok for findings in found.values() for finding in findings))


def lines(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each check."""
    return [
        f"ok     {each.hop}: {each.seen}" if each.ok else f"FAULT  {each.hop}: {each.seen}: {each.fix}"
        for each in findings
    ]


def examine(zone: str) -> Iterable[Finding]:
    """Yield the findings of one zone, in the order in which a packet meets the hops."""
    from watcher import config  # noqa: PLC0415
    from watcher.checks import Finding, Patient, naming, network, tunnel  # noqa: PLC0415
    from watcher.checks import zone as server  # noqa: PLC0415
    from watcher.errors import ConfigError  # noqa: PLC0415

    folders = places.of_zone(zone)
    try:
        read = config.load(folders.config)
    except ConfigError as err:
        yield Finding("configuration", str(err), f"run the watcher role for {host()}, and this command as root")
        return
    patient = Patient(zone, folders, read, read_status(zone) or {})
    for checks in (network, server, naming, tunnel):
        yield from checks.check(patient)
