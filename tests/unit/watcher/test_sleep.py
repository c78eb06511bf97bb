# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a suspend is told, and for how long it waits; with real processes."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from typing import TYPE_CHECKING

from watcher.sleep import tell

if TYPE_CHECKING:
    from pathlib import Path


def test_who_does_not_hold_the_lock_is_not_signalled(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "status.json").write_text(json.dumps({"pid": stranger.pid}))
        (tmp_path / "lock").touch()
        assert tell([tmp_path / "status.json"], asleep=True)
        assert stranger.poll() is None
        stranger.kill()


def test_a_daemon_that_hangs_holds_up_the_suspend_no_longer_than_allowed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as daemon, (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (tmp_path / "status.json").write_text(json.dumps({"pid": daemon.pid}))
        started = time.monotonic()
        assert not tell([tmp_path / "status.json"], asleep=True, within_s=0.3)
        assert 0.3 <= time.monotonic() - started < 2
        daemon.wait(5)  # it was signalled


def test_a_host_without_daemons_sleeps_at_once(tmp_path: Path) -> None:
    assert tell([], asleep=True)
    assert tell([tmp_path / "status.json"], asleep=True)
    (tmp_path / "lock").touch()
    (tmp_path / "status.json").write_text("{")
    assert tell([tmp_path / "status.json"], asleep=False)
