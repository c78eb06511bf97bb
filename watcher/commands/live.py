# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm browse --live`: lines that appear and vanish as services do, by DNS Push."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.push import REMOVE, Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError

from watcher import config, places
from watcher.errors import ConfigError
from watcher.push_follow import make_client
from watcher.zone_client import ZoneClient

from .shared import host, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Change
    from ansible_collections.btmm.fleet.plugins.module_utils.push_client import Server
    from dns.name import Name

_PTR, _SRV = dns.rdatatype.PTR, dns.rdatatype.SRV


@dataclass
class Sidebar:
    """The services that are there: types lead to instances, those to hosts and ports (RFC 6763 sections 4, 5, 9)."""

    zone: Name
    kind: str | None
    show: Callable[[str, dict[str, Any]], None]
    _pointers: dict[Name, set[Name]] = field(default_factory=dict)  # what each name points at
    _places: dict[Name, list[Any]] = field(default_factory=dict)  # SRV data of instances
    _shown: dict[Name, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._root = names.enumeration_name(self.zone)
        if self.kind is not None:
            self._pointers[self._root] = {names.service_name(self.kind, self.zone)}

    def questions(self) -> list[Question]:
        """Return what has to be followed now."""
        top = [] if self.kind is not None else [Question(self._root, _PTR)]
        kinds = [Question(kind, _PTR) for kind in self._kinds()]
        return top + kinds + [Question(instance, _SRV) for kind in self._kinds() for instance in self._of(kind)]

    def take(self, changes: Sequence[Change]) -> None:
        """Note changes, and show what is there now or is there no more."""
        for change in changes:
            if change.rdata is None:
                continue
            if change.rdtype == _PTR:
                held = self._pointers.setdefault(change.name, set())
                target = change.rdata.target  # type: ignore[attr-defined]
                held.discard(target)
                if change.ttl != REMOVE:
                    held.add(target)
            elif change.rdtype == _SRV:
                places_ = self._places.setdefault(change.name, [])
                if change.rdata in places_:
                    places_.remove(change.rdata)
                if change.ttl != REMOVE:
                    places_.append(change.rdata)
        self._compare()

    def _kinds(self) -> list[Name]:
        return sorted(each for each in self._pointers.get(self._root, ()) if each.is_subdomain(self.zone))

    def _of(self, kind: Name) -> list[Name]:
        return sorted(each for each in self._pointers.get(kind, ()) if each.parent() == kind)

    def _compare(self) -> None:
        now: dict[Name, dict[str, Any]] = {}
        for kind in self._kinds():
            for instance in self._of(kind):
                for srv in self._places.get(instance, ()):
                    now[instance] = {
                        "title": instance.labels[0].decode("utf-8", "replace"),
                        "type": kind.relativize(self.zone).to_text(),
                        "host": srv.target.to_text(omit_final_dot=True),
                        "port": srv.port,
                    }
        for instance, line in [*self._shown.items()]:
            if now.get(instance) != line:
                self.show("-", self._shown.pop(instance))
        for instance, line in now.items():
            if instance not in self._shown:
                self._shown[instance] = line
                self.show("+", line)


def run(zones: list[str], kind: str | None, *, as_json: bool) -> int:
    """Show what comes and goes until interrupted; 1 when a zone can't be followed at all."""
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_async_run(zones, kind, as_json=as_json))
    return 0


async def _async_run(zones: list[str], kind: str | None, *, as_json: bool) -> int:
    running = []
    for zone in zones:
        try:
            running.append(_follow(config.load(places.of_zone(zone).config), kind, as_json=as_json))
        except (ConfigError, PushError) as err:
            print(f"{host()}: {err}", file=sys.stderr)
            return 1
    await asyncio.gather(*running)
    return 0


async def _follow(loaded: config.Config, kind: str | None, *, as_json: bool) -> None:
    def show(sign: str, line: dict[str, Any]) -> None:
        text = json.dumps({"change": "added" if sign == "+" else "removed", **line}, ensure_ascii=False)
        print(text if as_json else _line(sign, line), flush=True)

    def on_changes(changes: Sequence[Change]) -> None:
        sidebar.take(changes)
        client.follow(sidebar.questions())

    def on_state(server: Server | None, error: PushError | None) -> None:
        if server is None:
            print(f"{host()}: {error}", file=sys.stderr, flush=True)

    refused = False

    def on_refused(questions: AbstractSet[Question]) -> None:
        nonlocal refused
        if questions and not refused:
            why = "the server follows no more for this host: end other views of the zone, or raise the server's limits"
            print(f"{host()}: not all changes are shown, since {why}", file=sys.stderr, flush=True)
        refused = bool(questions)

    sidebar = Sidebar(loaded.zone, kind, show)
    client = make_client(loaded, ZoneClient(loaded), on_changes, on_state, on_refused)
    client.follow(sidebar.questions())
    await client.async_run()


def _line(sign: str, line: dict[str, Any]) -> str:
    return f"{sign} {line['type']:<20} {safe(line['title'])}  {line['host']} port {line['port']}"
