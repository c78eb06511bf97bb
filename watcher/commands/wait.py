# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm wait`: return when this host is published, or say why it is not."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from watcher import places

from .shared import host, not_running, read_status, unit
from .status import describe

if TYPE_CHECKING:
    import argparse

_POLL_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--timeout", type=float, default=20.0, metavar="S", help="seconds (default %(default)s)")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Wait for all zones together; 0 when each is published."""
    deadline = time.monotonic() + given.timeout
    return max([_wait(zone, deadline, given.timeout) for zone in zones])


def _wait(zone: str, deadline: float, timeout_s: float) -> int:
    from watcher.digest import digest  # noqa: PLC0415

    while True:
        status = read_status(zone)
        current = status is not None and status.get("config") == digest(places.of_zone(zone).config)
        if status is not None and current:
            if status.get("published") and not status.get("error"):
                print("\n".join(describe(status)))
                return 0
            if status.get("error") and status.get("final"):
                break
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    if status is None:
        reason = f"{host()}: {not_running(zone)}"
    elif not current:
        reason = f"{host()}: the daemon has not read its configuration again: restart the service {unit(zone)}"
    else:
        reason = (
            status.get("error") or f"{host()}: not published after {timeout_s:g} s: see 'journalctl -u {unit(zone)}'"
        )
    print(reason, file=sys.stderr)
    return 1
