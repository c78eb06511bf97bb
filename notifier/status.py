# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's state for others: /run/btmm-notifier/status.json, a moment after every change."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.btmm.fleet.plugins.module_utils import json_files, sd_notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .mirror import Mirror
    from .notified import Listener
    from .server import Service

RUN_DIR = Path("/run/btmm-notifier")
FILE = "status.json"
SOON_S = 0.2  # a busy zone changes a hundred times in this time, and nobody reads that often
SEEN_AGAIN_S = 10.0  # what servers count changes without anybody saying so


class Status:
    """Collects what there is to tell, and writes it when it is different.

    Keys: pid, started, config (a digest of the files it came from), error (one sentence or null), zones (by name:
    serial, stale, expired, since, error), notify (port, ignored), and one for each server.
    """

    def __init__(
        self, directory: Path, mirror: Mirror, listeners: Sequence[Listener], services: Sequence[Service]
    ) -> None:
        self.config = ""
        self.error: str | None = None
        self._path = directory / FILE
        self._mirror = mirror
        self._listeners = listeners
        self._services = services
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._written: dict[str, Any] = {}
        self._told = ""
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Write soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SOON_S, self.write)

    async def async_keep(self) -> None:
        """Write what changed silently, now and then, until cancelled."""
        while True:
            self.write()
            await asyncio.sleep(SEEN_AGAIN_S)

    def write(self) -> None:
        """Write now, and tell systemd in one line."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        states = {zone.to_text(omit_final_dot=True): self._mirror.state(zone) for zone in self._mirror.zones}
        zones = {zone: asdict(state) for zone, state in states.items() if state is not None}
        values: dict[str, Any] = {
            "pid": os.getpid(),
            "started": self._started,
            "config": self.config,
            "error": self.error,
            "zones": zones,
            "notify": {
                "ports": [listener.port for listener in self._listeners],
                "ignored": sum(listener.ignored for listener in self._listeners),
            },
        }
        values |= {service.kind: service.report() for service in self._services}
        if values == self._written:
            return
        self._written = values
        json_files.write(self._path, values, mode=0o644)
        stale = next((zone["error"] or "loading" for zone in zones.values() if zone["stale"]), None)
        told = self.error or stale or f"{len(zones)} zones are current"
        if told != self._told:
            self._told = told
            sd_notify.send(f"STATUS={told}")
