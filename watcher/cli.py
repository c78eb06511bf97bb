# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `btmm`. Only `btmm watch` loads the daemon: the others start fast."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from . import places

_POLL_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:2] == ["watch", "--zone"] and len(given) == 3:
        # As systemd calls it: the daemon does without argparse, which would cost it 0.5 MB for life.
        return _watch(_folder(given[2]))
    return _command(given)


def _command(arguments: list[str]) -> int:
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="btmm", description="Back to My Mac for this host.")
    commands = parser.add_subparsers(dest="command", required=True)
    watch = commands.add_parser("watch", help="run the daemon of one zone")
    status = commands.add_parser("status", help="show how this host is reached, and its tunnels")
    status.add_argument("--json", action="store_true", help="the daemon's status file as it is")
    wait = commands.add_parser("wait", help="return when this host is published, or say why it is not")
    wait.add_argument("--timeout", type=float, default=20.0, metavar="S", help="seconds (default %(default)s)")
    commands.add_parser("sleep", help="leave the zone before this host sleeps; systemd calls it")
    commands.add_parser("resume", help="come back after that")
    watch.add_argument("--zone", required=True, help="the owner's zone")
    for command in (status, wait):
        command.add_argument("--zone", help="the owner's zone; default all of this host")
    given = parser.parse_args(arguments)
    if given.command == "watch":
        return _watch(_folder(given.zone))
    if given.command in {"sleep", "resume"}:
        return _suspend(asleep=given.command == "sleep")
    zones = [_folder(given.zone)] if given.zone else places.zones()
    if not zones:
        print(f"{_host()}: it belongs to no zone: run the watcher role for it", file=sys.stderr)
        return 3
    if given.command == "status":
        return max([_show(zone, given.json) for zone in zones])
    deadline = time.monotonic() + given.timeout
    return max([_wait(zone, deadline, given.timeout) for zone in zones])


def _folder(zone: str) -> str:
    """The zone as its folders are named."""
    return zone.lower().removesuffix(".")


def _watch(zone: str) -> int:
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415

    from .daemon import Daemon  # noqa: PLC0415
    from .errors import AlreadyRunningError  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        asyncio.run(Daemon(places.of_zone(zone)).async_run())
    except AlreadyRunningError as err:
        print(f"{_host()}: {err}", file=sys.stderr)
        return 1
    return 0


def _suspend(*, asleep: bool) -> int:
    from .sleep import tell  # noqa: PLC0415

    tell([places.of_zone(zone).run / places.STATUS_FILE for zone in places.zones()], asleep=asleep)
    return 0


def _read(zone: str) -> dict[str, Any] | None:
    try:
        value = json.loads((places.of_zone(zone).run / places.STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _show(zone: str, as_json: bool) -> int:
    status = _read(zone)
    if status is None:
        print(f"{_host()}: {_not_running(zone)}", file=sys.stderr)
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


def _wait(zone: str, deadline: float, timeout_s: float) -> int:
    from .digest import digest  # noqa: PLC0415

    while True:
        status = _read(zone)
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
        reason = f"{_host()}: {_not_running(zone)}"
    elif not current:
        reason = f"{_host()}: the daemon has not read its configuration again: restart the service {_unit(zone)}"
    else:
        reason = (
            status.get("error") or f"{_host()}: not published after {timeout_s:g} s: see 'journalctl -u {_unit(zone)}'"
        )
    print(reason, file=sys.stderr)
    return 1


def _unit(zone: str) -> str:
    return f"btmm-watcher@{zone}"


def _not_running(zone: str) -> str:
    return f"the daemon does not run: see 'systemctl status {_unit(zone)}'"


def _host() -> str:
    import socket  # noqa: PLC0415

    return socket.gethostname()
