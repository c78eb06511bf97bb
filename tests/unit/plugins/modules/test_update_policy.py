# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import bind, policy, records
from ansible_collections.btmm.fleet.plugins.modules import update_policy

from tests.unit.primary import SECRET
from tests.unit.running import run_module

if TYPE_CHECKING:
    from pathlib import Path

Runner = Callable[..., dict[str, Any]]


class Commands:
    """Stands in for the host's programs: their exit codes, and which were run."""

    def __init__(self) -> None:
        self.codes = {"named-checkconf": 0, "systemctl": 0, "rndc": 0}
        self.ran: list[str] = []

    def run(self, _module: AnsibleModule, args: list[str]) -> tuple[int, str, str]:
        self.ran.append(args[0])
        return self.codes[args[0]], "", f"{args[0]} says no"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    stand_in = Commands()
    monkeypatch.setattr(AnsibleModule, "run_command", lambda module, args: stand_in.run(module, args))
    monkeypatch.setattr(shutil, "chown", lambda *_: None)
    return stand_in


@pytest.fixture
def run(commands: Commands, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Runner:
    def runner(*labels: str, check: bool = False, **arguments: object) -> dict[str, Any]:
        base = {
            "zone": "bob.members.example",
            "prefix": "fd12:3456:789a::/48",
            "directory": str(tmp_path / "btmm"),
            "admin_secret": SECRET,
            "hosts": [host(label) for label in labels],
        }
        return run_module(update_policy.main, {**base, **arguments}, capsys, check=check)

    return runner


def host(label: str) -> dict[str, Any]:
    described = records.host_from_config(
        {"zone": "bob.members.example", "label": label, "ula": f"fd12:3456:789a::{sum(label.encode()):x}"}
    )
    return {
        "label": label,
        "secret": SECRET[::-1][1:] + "=",
        "grants": bind.plain_grants(policy.host_grants(described)),
    }


def tree(tmp_path: Path) -> dict[str, str]:
    return {
        str(path.relative_to(tmp_path / "btmm")): path.read_text()
        for path in tmp_path.rglob("*")
        if path.is_file() and "btmm" in path.parts
    }


def test_the_first_run_makes_all_files_and_the_second_none(run: Runner, commands: Commands, tmp_path: Path) -> None:
    first = run("imac", "mini")
    assert first["changed"]
    assert commands.ran == ["named-checkconf", "systemctl", "rndc"]
    assert set(tree(tmp_path)) == {*update_policy.INCLUDES, "hosts/imac.json", "hosts/mini.json"}
    assert (tmp_path / "btmm/keys.conf").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "btmm/hosts/imac.json").stat().st_mode & 0o777 == 0o600
    assert not run("imac", "mini")["changed"]
    assert len(commands.ran) == 3


def test_no_secret_is_shown(run: Runner) -> None:
    shown = str(run("imac"))
    assert SECRET not in shown
    assert host("imac")["secret"] not in shown


def test_a_run_for_one_host_touches_no_other(run: Runner, tmp_path: Path) -> None:
    run("imac", "mini")
    before = tree(tmp_path)
    result = run("macbook")
    after = tree(tmp_path)
    assert {path for path in after if after[path] != before.get(path)} == {
        "hosts/macbook.json", "keys.conf", "policy-forward.conf", "policy-reverse.conf",
    }  # fmt: skip
    assert len(result["changed_files"]) == 4
    gone = run("macbook", state="absent", admin_secret=None)
    assert gone["changed"]
    assert tree(tmp_path) == before
    assert not run("macbook", state="absent")["changed"]


def test_check_mode_writes_and_runs_nothing(run: Runner, commands: Commands, tmp_path: Path) -> None:
    result = run("imac", check=True)
    assert result["changed"]
    assert not tree(tmp_path)
    assert not commands.ran
    assert any('grant "imac.' in each["after"] for each in result["diff"])


def test_what_named_checkconf_refuses_is_not_installed(run: Runner, commands: Commands, tmp_path: Path) -> None:
    commands.codes["named-checkconf"] = 1
    result = run("imac")
    assert "nothing was installed: named-checkconf says no" in result["msg"]
    assert not tree(tmp_path)


def test_what_named_does_not_take_is_undone(run: Runner, commands: Commands, tmp_path: Path) -> None:
    run("imac")
    before = tree(tmp_path)
    commands.codes["rndc"] = 1
    assert "the old ones are back" in run("mini")["msg"]
    assert tree(tmp_path) == before


def test_a_named_that_does_not_run_is_not_told(run: Runner, commands: Commands) -> None:
    commands.codes["systemctl"] = 3
    assert run("imac")["changed"]
    assert commands.ran == ["named-checkconf", "systemctl"]


def test_a_refused_host_does_not_stop_the_others(run: Runner, tmp_path: Path) -> None:
    clone = {**host("imac"), "label": "clone"}
    result = run(hosts=[host("imac"), clone, host("mini"), {"label": "empty"}])
    assert set(result["refused"]) == {"clone", "empty"}
    assert {"hosts/imac.json", "hosts/mini.json"} < set(tree(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"zone": "bob"}, "not a domain"),
        ({"prefix": "x"}, "x"),
        ({"admin_secret": None}, "admin.key is missing"),
        ({"hosts": [{"label": "a b", "secret": "x"}]}, "host label"),
    ],
)
def test_bad_input_is_one_sentence(run: Runner, arguments: dict[str, Any], cause: str) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert cause in result["msg"]


def test_a_damaged_entry_is_named(run: Runner, tmp_path: Path) -> None:
    run("imac")
    (tmp_path / "btmm/hosts/imac.json").write_text("{")
    assert "hosts/imac.json is damaged" in run("mini")["msg"]


def test_absent_on_a_host_that_never_had_anything(run: Runner, tmp_path: Path) -> None:
    assert not run("imac", state="absent", admin_secret=None)["changed"]
    assert not tree(tmp_path)
