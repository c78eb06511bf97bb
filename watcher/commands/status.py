# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm status`: how this host is reached, and its tunnels."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from watcher import metrics

from .shared import as_json, host, not_running, read_status

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the daemon's status file as it is")
    form.add_argument("--prometheus", action="store_true", help="as node_exporter's textfile collector reads it")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Print the status of each zone; 0 when all is well, 1 with an error, 3 when a daemon does not run."""
    if given.prometheus:
        print(metrics.text({zone: read_status(zone) for zone in zones}), end="")
        return 0
    return max([_show(zone, given.json) for zone in zones])


def _show(zone: str, json_wanted: bool) -> int:
    status = read_status(zone)
    if status is None:
        print(f"{host()}: {not_running(zone)}", file=sys.stderr)
        return 3
    print(as_json(status) if json_wanted else "\n".join(describe(status)))
    return 1 if status.get("error") else 0


def describe(status: dict[str, Any]) -> list[str]:
    """The status as lines for a person."""
    mapping = status.get("mapping") or {}
    how = f"mapped by {mapping['gateway']}, {mapping['method']}" if mapping.get("gateway") else "no NAT"
    published = status.get("published")
    names = status.get("names") or "no"
    lines = [
        f"host      {status.get('host', '?')}  {status.get('ula', '')}",
        _outside(status, how),
        f"published {published['time']}" if published else "published no",
        f"names     {names}" + (f", last known since {status['last_known']}" if status.get("last_known") else ""),
    ]
    lines += [f"{key:<9} {status[key]}" for key in ("rung", "nat", "unmapped", "follow", "disk") if status.get(key)]
    if status.get("overwritten"):
        lines.append(f"conflict  another writer changed {', '.join(status['overwritten'])}")
    lines += [f"tunnel    {_tunnel(peer)}" for peer in status.get("peers", ())]
    if status.get("error"):
        lines.append(f"error     {status['error']}")
    return lines


def _tunnel(peer: dict[str, Any]) -> str:
    since = f"since {peer['since']}" if peer.get("since") else None
    parts = (peer["name"], peer["outer"], peer.get("rung"), _keys(peer), since)
    return "  ".join(str(part) for part in parts if part)


def _keys(peer: dict[str, Any]) -> str:
    """How the tunnel got its keys, and whether what it carries is still secret when there are quantum computers."""
    exchange = peer.get("key_exchange")
    return f"{exchange} ({'' if peer.get('post_quantum') else 'not '}post-quantum)" if exchange else ""


def _outside(status: dict[str, Any], how: str) -> str:
    if status.get("outer"):
        return f"outside   {status['outer']} ({how})"
    return f"outside   by the relay {status['relay']}" if status.get("relay") else "outside   not reachable"
