# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm browse`: hosts and services as a browser's sidebar shows them. Opens no tunnel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .shared import as_json, cannot_browse, host, safe

if TYPE_CHECKING:
    import argparse

    from ansible_collections.btmm.fleet.plugins.module_utils.browse import FoundHost


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("type", nargs="?", metavar="TYPE", help="a service type, as ssh or _ssh._tcp; default all")
    parser.add_argument("--live", action="store_true", help="show what comes (+) and goes (-) until interrupted")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Print what each zone offers; 1 when one can't be browsed."""
    from ansible_collections.btmm.fleet.plugins.module_utils import names  # noqa: PLC0415

    try:
        kind = names.service_type(given.type) if given.type else None
    except names.InvalidName as err:
        print(f"{host()}: {err}", file=sys.stderr)
        return 2
    if given.live:
        from .live import run as run_live  # noqa: PLC0415

        return run_live(zones, kind, as_json=given.json)
    code, found = 0, {}
    for zone in zones:
        hosts = _browse(zone, kind)
        if hosts is None:
            code = 1
        else:
            found[zone] = hosts
    if given.json:
        print(as_json(found))
    else:
        for zone, hosts in found.items():
            print("\n".join(lines(zone, hosts)))
    return code


def lines(zone: str, hosts: list[dict[str, Any]]) -> list[str]:
    """What a person sees of one zone."""
    shown = [zone]
    for each in hosts:
        model = f"  ({safe(each['model'])})" if each["model"] else ""
        shown.append(f"  {safe(each['title'])}  {each['name']}{model}")
        for offer in each["services"]:
            title = "" if offer["title"] == each["title"] else f"  {safe(offer['title'])}"
            shown.append(f"    {offer['type']:<20} port {offer['port']}{title}")
    return shown if hosts else [f"{zone}  offers nothing"]


def _browse(zone: str, kind: str | None) -> list[dict[str, Any]] | None:
    from ansible_collections.btmm.fleet.plugins.module_utils import names  # noqa: PLC0415
    from ansible_collections.btmm.fleet.plugins.module_utils.browse import browse  # noqa: PLC0415
    from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError  # noqa: PLC0415

    from .local import ask  # noqa: PLC0415

    try:
        with ask(zone) as exchange:
            found = browse(exchange, names.parse_zone(zone), addresses=False)
    except UpdateError as err:
        print(f"{host()}: {cannot_browse(zone, err)}", file=sys.stderr)
        return None
    for fault in found.faults:
        print(f"{host()}: left out: {fault}", file=sys.stderr)
    hosts = [_plain(each, kind) for each in found.hosts]
    return [each for each in hosts if each["services"]]


def _plain(found: FoundHost, kind: str | None) -> dict[str, Any]:
    return {
        "title": found.title,
        "name": found.name.to_text(omit_final_dot=True),
        "model": found.model,
        "services": [
            {
                "title": offer.title,
                "type": offer.service.type,
                "port": offer.service.port,
                "txt": list(offer.service.txt),
            }
            for offer in found.offers
            if kind in {None, offer.service.type}
        ],
    }
