# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the daemons of this host that it is about to sleep, or that it is awake again. Loads fast: a suspend waits."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from .places import LOCK_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WITHIN_S = 10.0  # `facts` 5.4: a suspend is held up no longer
_POLL_S = 0.05


def tell(status_files: Iterable[Path], *, asleep: bool, within_s: float = WITHIN_S) -> bool:
    """Signal every daemon; before a sleep, wait until each has left the zone, and tell whether all did in time."""
    number = signal.SIGUSR1 if asleep else signal.SIGUSR2
    told = [path for path in status_files if runs(path) and _signal(_read(path).get("pid"), number)]
    if not asleep:
        return True
    deadline = time.monotonic() + within_s
    while any(not _read(path).get("asleep") for path in told):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def runs(status_file: Path) -> bool:
    """Whether the daemon holds its lock; the number in what a dead one left may be anybody's by now."""
    try:
        with status_file.with_name(LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _signal(pid: object, number: signal.Signals) -> bool:
    if not isinstance(pid, int) or pid <= 1:
        return False
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
