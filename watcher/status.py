# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's state for others: /run/btmm/ZONE/status.json, rewritten on every change."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ansible_collections.btmm.fleet.plugins.module_utils import json_files, sd_notify
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic

from . import metrics
from .places import METRICS_FILE, STATUS_FILE

if TYPE_CHECKING:
    from pathlib import Path


def now(later_s: float = 0) -> str:
    """The time of day in UTC, or that some seconds later, to the second, ISO 8601."""
    return (datetime.now(UTC) + timedelta(seconds=later_s)).isoformat(timespec="seconds")


class Status:
    """A dictionary that is on disk whenever it stands still, and beside it as Prometheus reads it.

    Keys: host, zone, ula, config (a digest of the files it came from), outer, mapping, unmapped (why there is none, or
    null), rung (the best way from outside), relay (where we are registered), published, peers, names (how names reach
    the stub), last_known (since when they come from memory, or null), updates (how many the zone took), lease_expires,
    overwritten (RRsets of ours that another writer changed),
    disk (a file that could not be written, or null), error (one sentence or null), final (whether only a change of
    configuration or network mends it), started, changed (times).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._values: dict[str, Any] = {"pid": os.getpid(), "started": now()}

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Return what was set last."""
        return self._values.get(key, default)

    def set(self, **values: object) -> bool:
        """Change some keys; write, and tell it, only when something is different now."""
        values["disk"] = json_files.fault()
        if all(key in self._values and self._values[key] == value for key, value in values.items()):
            return False
        self._values.update(values, changed=now())
        json_files.write(self._directory / STATUS_FILE, self._values, mode=0o644)
        zone, error, outer = (self._values.get(key) for key in ("zone", "error", "outer"))
        with contextlib.suppress(OSError):  # the status above has said so
            write_atomic(self._directory / METRICS_FILE, metrics.text({str(zone): self._values}).encode(), 0o644)
        sd_notify.send("STATUS=" + (error or (f"reachable at {outer}" if outer else "starting")))
        return True
