# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is the old or the new one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import sweep, write_atomic


def test_content_and_mode(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"one")
    write_atomic(tmp_path / "file", b"two", 0o640)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_failure_keeps_the_old_file_alone(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"old")
    with mock.patch.object(Path, "replace", side_effect=OSError("no")), pytest.raises(OSError, match="no"):
        write_atomic(tmp_path / "file", b"new")
    with pytest.raises(LookupError):
        write_atomic(tmp_path / "file", b"new", group="no-such-group")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_what_a_killed_writer_left_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    for name in (".a.json.0123456789abcdef.new", ".b.json.fedcba9876543210.new", ".other", "c.new"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / ".b.json.fedcba9876543210.new")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".b.json.fedcba9876543210.new", ".other", "c.new"}
