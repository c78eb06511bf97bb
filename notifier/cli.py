# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `btmm-notifier`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.btmm.fleet.plugins.module_utils import json_files

from . import config
from .errors import ConfigError
from .status import FILE, RUN_DIR

_POLL_S = 0.1
_NOT_RUNNING = "the notifier does not run: see 'systemctl status btmm-notifier'"


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    parser = argparse.ArgumentParser(prog="btmm-notifier", description="Tell of changes in the zone as they happen.")
    parser.add_argument("--config", type=Path, default=config.CONFIG_DIR, metavar="DIR", help="default %(default)s")
    parser.add_argument("--run", type=Path, default=RUN_DIR, metavar="DIR", help="default %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the daemon")
    status = commands.add_parser("status", help="show the zones and who is told of them")
    status.add_argument("--json", action="store_true", help="the daemon's status file as it is")
    wait = commands.add_parser("wait", help="return when all zones are current, or say why they are not")
    wait.add_argument("--timeout", type=float, default=20.0, metavar="S", help="seconds (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.command == "serve":
        return _serve(given.config, given.run)
    return _show(given.run, given.json) if given.command == "status" else _wait(given.config, given.run, given.timeout)


def _serve(config_dir: Path, run_dir: Path) -> int:
    from .daemon import Daemon  # noqa: PLC0415 - the other commands start fast

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        asyncio.run(Daemon(config_dir, run_dir).async_run())
    except (ConfigError, OSError) as error:
        print(f"{socket.gethostname()}: the notifier does not start: {error}", file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, ConfigError) else 1
    return 0


def _show(run_dir: Path, as_json: bool) -> int:
    status = json_files.read(run_dir / FILE)
    if not status:
        print(f"{socket.gethostname()}: {_NOT_RUNNING}", file=sys.stderr)
        return 3
    print(json.dumps(status, indent=1, ensure_ascii=False) if as_json else "\n".join(describe(status)))
    return 1 if fault(status) else 0


def describe(status: dict[str, Any]) -> list[str]:
    """The status as lines for a person."""
    lines = []
    for name, zone in status["zones"].items():
        how = "expired" if zone["expired"] else "stale" if zone["stale"] else "current"
        lines.append(f"{name}  {how} since {zone['since']}, serial {zone['serial']}")
    known = {"pid", "started", "config", "error", "zones", "notify"}
    for kind, report in status.items():
        if kind not in known:
            lines.append(f"{kind}  " + ", ".join(f"{key} {value}" for key, value in report.items()))
    return lines + ([f"error  {fault(status)}"] if fault(status) else [])


def fault(status: dict[str, Any]) -> str | None:
    """Return the first thing that is wrong, as a sentence."""
    if status["error"]:
        return str(status["error"])
    for name, zone in status["zones"].items():
        if zone["stale"]:
            return zone["error"] or f"{name} was not fetched yet"
    return None


def _wait(config_dir: Path, run_dir: Path, timeout_s: float) -> int:
    end = time.monotonic() + timeout_s
    while True:
        status = json_files.read(run_dir / FILE)
        read = bool(status) and status["config"] == config.digest(config_dir)
        if read and not fault(status):
            print("\n".join(describe(status)))
            return 0
        if time.monotonic() > end:
            break
        time.sleep(_POLL_S)
    reason = fault(status) if read else "the notifier has not read its configuration: restart the service btmm-notifier"
    print(f"{socket.gethostname()}: {reason if status else _NOT_RUNNING}", file=sys.stderr)
    return 1
