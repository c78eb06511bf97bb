# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `btmm`. Only `btmm watch` loads the daemon, and no other command more than it needs: all start fast."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_COMMANDS = {
    "status": "show how this host is reached, and its tunnels",
    "wait": "return when this host is published, or say why it is not",
    "browse": "list the services of the fleet",
    "page": "show the fleet in the browser, live",
    "connect": "open the tunnel to a host now",
    "login": "make this user's key, for which the owner signs a certificate",
    "ticket": "get a ticket for a host's services",
    "doctor": "find the broken hop, and say how to mend it",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:2] == ["watch", "--zone"] and len(given) == 3:
        # As the unit calls it. argparse would cost the daemon 0.5 MB for life.
        return _watch(_folder(given[2]))
    return _run(_parsed(given))


def _parsed(arguments: list[str]) -> argparse.Namespace:
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="btmm", description="Back to My Mac for this host.")
    commands = parser.add_subparsers(dest="command", required=True)
    watch = commands.add_parser("watch", help="run the daemon of one zone")
    watch.add_argument("--zone", required=True, help="the owner's zone")
    commands.add_parser("sleep", help="leave the zone before this host sleeps; systemd calls it")
    commands.add_parser("resume", help="come back after that")
    revoked = commands.add_parser("revoked", help="take up the owner's list of revoked certificates; systemd calls it")
    revoked.add_argument("--zone", required=True, help="the owner's zone")
    for name, description in _COMMANDS.items():
        command = commands.add_parser(name, help=description)
        command.add_argument("--zone", help="the owner's zone; default all of this host")
        module = importlib.import_module(f"watcher.commands.{name}")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser.parse_args(arguments)


def _run(given: argparse.Namespace) -> int:
    from . import places  # noqa: PLC0415
    from .commands.shared import host  # noqa: PLC0415

    if given.command == "watch":
        return _watch(_folder(given.zone))
    if given.command in {"sleep", "resume"}:
        return _suspend(asleep=given.command == "sleep")
    if given.command == "revoked":
        return _take_list(_folder(given.zone))
    zones = [_folder(given.zone)] if given.zone else places.zones()
    if not zones:
        print(f"{host()}: it belongs to no zone: run the watcher role for it", file=sys.stderr)
        return 3
    code: int = given.run(zones, given)
    return code


def _folder(zone: str) -> str:
    """The zone as its folders are named."""
    return zone.lower().removesuffix(".")


def _watch(zone: str) -> int:
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415

    from . import places  # noqa: PLC0415
    from .daemon import Daemon  # noqa: PLC0415
    from .errors import AlreadyRunningError  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        asyncio.run(Daemon(places.of_zone(zone)).async_run())
    except AlreadyRunningError as err:
        import socket  # noqa: PLC0415

        print(f"{socket.gethostname()}: {err}", file=sys.stderr)
        return 1
    return 0


def _take_list(zone: str) -> int:
    from . import places, revoked  # noqa: PLC0415
    from .commands.shared import host  # noqa: PLC0415
    from .errors import WatcherError  # noqa: PLC0415

    file, own = f"btmm-{zone}.pem", places.of_zone(zone)
    lists = revoked.Lists(
        installed=places.REVOKED_ROOT / file,
        received=own.state / places.LIST_FILE,
        copies=(own.config / places.KDC_FOLDER / places.LIST_FILE,),
        authority=places.SWANCTL_ROOT / "x509ca" / file,
        judged=places.JUDGED_ROOT / zone,
    )
    try:
        for line in revoked.take(lists, zone):
            print(line)
    except WatcherError as err:
        print(f"{host()}: {err}", file=sys.stderr)
        return 1
    return 0


def _suspend(*, asleep: bool) -> int:
    from . import places  # noqa: PLC0415
    from .sleep import tell  # noqa: PLC0415

    tell([places.of_zone(zone).run / places.STATUS_FILE for zone in places.zones()], asleep=asleep)
    return 0
