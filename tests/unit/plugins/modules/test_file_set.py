# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.modules import file_set

from tests.unit.running import run_module

ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    def runner(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        arguments["files"] = [{**ME, **entry} for entry in arguments["files"]]
        arguments["directories"] = [{**ME, **entry} for entry in arguments.get("directories", [])]
        return run_module(file_set.main, arguments, capsys, check=check)

    return runner


def test_installs_then_changes_nothing(run: Runner, tmp_path: Path) -> None:
    files = [
        {"dest": f"{tmp_path}/d/a", "content": "one\n"},
        {"dest": f"{tmp_path}/d/b", "content": "two\n", "mode": "0640"},
    ]
    folder = [{"path": f"{tmp_path}/d"}]
    first = run(files=files, directories=folder)
    assert first["changed_files"] == [f"{tmp_path}/d", f"{tmp_path}/d/a", f"{tmp_path}/d/b"]
    assert (tmp_path / "d/b").read_text() == "two\n"
    assert stat.S_IMODE((tmp_path / "d/b").stat().st_mode) == 0o640
    assert run(files=files, directories=folder)["changed"] is False


def test_check_mode_foretells_and_writes_nothing(run: Runner, tmp_path: Path) -> None:
    files = [{"dest": f"{tmp_path}/d/a", "content": "one\n"}]
    folder = [{"path": f"{tmp_path}/d"}]
    foretold = run(files=files, directories=folder, check=True)
    assert not (tmp_path / "d").exists()
    assert foretold["changed_files"] == run(files=files, directories=folder)["changed_files"]
    assert foretold["diff"][0]["after"] == "one\n"


def test_a_wrong_mode_alone_is_a_change(run: Runner, tmp_path: Path) -> None:
    files = [{"dest": f"{tmp_path}/a", "content": "one\n", "mode": "0600"}]
    run(files=files)
    (tmp_path / "a").chmod(0o644)
    assert run(files=files, check=True)["changed_files"] == [f"{tmp_path}/a"]
    assert run(files=files)["changed_files"] == [f"{tmp_path}/a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_one_refused_file_keeps_all_from_being_installed(run: Runner, tmp_path: Path) -> None:
    files = [
        {"dest": f"{tmp_path}/good", "content": "one\n"},
        {"dest": f"{tmp_path}/bad", "content": "two\n", "validate": "grep -q one %s"},
    ]
    result = run(files=files)
    assert result["failed"]
    assert f"{tmp_path}/bad was not installed" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_a_secret_shows_neither_in_diff_nor_in_result(run: Runner, tmp_path: Path) -> None:
    files = [{"dest": f"{tmp_path}/s", "secret": True, "mode": "0600"}]
    result = run(files=files, secrets={f"{tmp_path}/s": "hush-hush\n"})
    assert (tmp_path / "s").read_text() == "hush-hush\n"
    assert "hush-hush" not in str({key: value for key, value in result.items() if key != "invocation"})
    assert "hush-hush" not in str(result["invocation"])


def test_absent_removes_what_present_made(run: Runner, tmp_path: Path) -> None:
    files = [{"dest": f"{tmp_path}/d/a", "content": "one\n"}]
    folder = [{"path": f"{tmp_path}/d"}]
    run(files=files, directories=folder)
    foretold = run(files=files, directories=folder, state="absent", check=True)
    assert (tmp_path / "d/a").exists()
    gone = run(files=files, directories=folder, state="absent")
    assert gone["changed_files"] == foretold["changed_files"] == [f"{tmp_path}/d/a", f"{tmp_path}/d"]
    assert not (tmp_path / "d").exists()
    assert run(files=files, directories=folder, state="absent")["changed"] is False


def test_absent_leaves_a_folder_with_foreign_files(run: Runner, tmp_path: Path) -> None:
    files = [{"dest": f"{tmp_path}/d/a", "content": "one\n"}]
    folder = [{"path": f"{tmp_path}/d"}]
    run(files=files, directories=folder)
    (tmp_path / "d/foreign").touch()
    assert run(files=files, directories=folder, state="absent")["changed_files"] == [f"{tmp_path}/d/a"]
    assert (tmp_path / "d/foreign").exists()
