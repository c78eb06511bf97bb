# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's state for others: /run/btmm/ZONE/status.json, rewritten on every change."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ansible_collections.btmm.fleet.plugins.module_utils import sd_notify

from . import state
from .places import STATUS_FILE

if TYPE_CHECKING:
    from pathlib import Path


def now() -> str:
    """The time of day in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Status:
    """A dictionary that is on disk whenever it stands still.

    Keys: host, zone, ula, config (a digest of the files it came from), outer, mapping, published, peers, names (how
    names reach the stub), error (one sentence or null), final (whether only a change of configuration or network mends
    it).
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / STATUS_FILE
        self._values: dict[str, Any] = {"pid": os.getpid(), "started": now()}

    def set(self, **values: object) -> bool:
        """Change some keys; write, and tell it, only when something is different now."""
        if all(key in self._values and self._values[key] == value for key, value in values.items()):
            return False
        self._values.update(values)
        state.write(self._path, self._values, mode=0o644)
        error, outer = self._values.get("error"), self._values.get("outer")
        sd_notify.send("STATUS=" + (error or (f"reachable at {outer}" if outer else "starting")))
        return True
