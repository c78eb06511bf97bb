# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `btmm`. Only `btmm watch` loads the daemon: the others start fast."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

_STATUS = Path("/run/btmm/status.json")
_POLL_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    # The daemon does without argparse, which would cost it 0.5 MB for life.
    return _watch() if given == ["watch"] else _command(given)


def _command(arguments: list[str]) -> int:
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="btmm", description="Back to My Mac for this host.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("watch", help="run the daemon")
    status = commands.add_parser("status", help="show how this host is reached, and its tunnels")
    status.add_argument("--json", action="store_true", help="the daemon's status file as it is")
    wait = commands.add_parser("wait", help="return when this host is published, or say why it is not")
    wait.add_argument("--timeout", type=float, default=20.0, metavar="S", help="seconds (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.command == "watch":
        return _watch()
    return _show(given.json) if given.command == "status" else _wait(given.timeout)


def _watch() -> int:
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415

    from .daemon import Daemon  # noqa: PLC0415
    from .errors import AlreadyRunningError  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        asyncio.run(Daemon().async_run())
    except AlreadyRunningError as err:
        print(f"{_host()}: {err}", file=sys.stderr)
        return 1
    return 0


def _read() -> dict[str, Any] | None:
    try:
        value = json.loads(_STATUS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _show(as_json: bool) -> int:
    status = _read()
    if status is None:
        print(f"{_host()}: {_NOT_RUNNING}", file=sys.stderr)
        return 3
    if as_json:
        print(json.dumps(status, indent=1, ensure_ascii=False))
    else:
        print("\n".join(describe(status)))
    return 1 if status.get("error") else 0


def describe(status: dict[str, Any]) -> list[str]:
    """The status as lines for a person."""
    mapping = status.get("mapping") or {}
    how = f"mapped by {mapping['gateway']}, {mapping['method']}" if mapping.get("gateway") else "no NAT"
    published = status.get("published")
    lines = [
        f"host      {status.get('host', '?')}  {status.get('ula', '')}",
        f"outside   {status['outer']} ({how})" if status.get("outer") else "outside   not reachable",
        f"published {published['time']}" if published else "published no",
        f"names     {status.get('names') or 'no'}",
    ]
    lines += [f"tunnel    {peer['name']}  {peer['outer']}" for peer in status.get("peers", ())]
    if status.get("error"):
        lines.append(f"error     {status['error']}")
    return lines


def _wait(timeout_s: float) -> int:
    from .digest import digest  # noqa: PLC0415

    deadline = time.monotonic() + timeout_s
    while True:
        status = _read()
        current = status is not None and status.get("config") == digest()
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
        reason = f"{_host()}: {_NOT_RUNNING}"
    elif not current:
        reason = f"{_host()}: the daemon has not read its configuration again: restart the service btmm-watcher"
    else:
        reason = (
            status.get("error") or f"{_host()}: not published after {timeout_s:g} s: see 'journalctl -u btmm-watcher'"
        )
    print(reason, file=sys.stderr)
    return 1


_NOT_RUNNING = "the daemon does not run: see 'systemctl status btmm-watcher'"


def _host() -> str:
    import socket  # noqa: PLC0415

    return socket.gethostname()
