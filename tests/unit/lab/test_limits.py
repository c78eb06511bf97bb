# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

from lab import limits


def test_a_low_limit_is_raised_once(tmp_path: Path) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    assert limits.raise_inotify(limit) == 128
    assert limit.read_text() == "2048\n"
    assert limits.raise_inotify(limit) is None


def test_a_higher_limit_stays(tmp_path: Path) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("8192\n")
    assert limits.raise_inotify(limit) is None
    assert limit.read_text() == "8192\n"
