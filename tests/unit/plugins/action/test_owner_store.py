# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner_store action: made once, planned without a trace, no secret in what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import owner_store

from tests.unit.acting import run_action

if TYPE_CHECKING:
    from pathlib import Path


def run(place: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"zone": "bob.members.example", "owner_dir": str(place / "owner"), "passphrase": "correct horse", **options}
    return run_action(owner_store.ActionModule, given, {}, check=check)


def test_made_once(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["prefix"] == second["prefix"]
    assert "prefix: fd" in first["diff"][0]["after"]
    assert "diff" not in second
    assert "PRIVATE" not in str(first)


def test_check_mode_plans_the_same_prefix_each_time(tmp_path: Path) -> None:
    first, second = run(tmp_path, check=True), run(tmp_path, check=True)
    assert first["changed"]
    assert first["prefix"] == second["prefix"]
    assert "stand-in" in first["diff"][0]["after"]
    assert list(tmp_path.iterdir()) == []


def test_keys_are_replaced(tmp_path: Path) -> None:
    run(tmp_path)
    done = run(tmp_path, rotate=["_admin", "Zone2"])
    assert done["changed"]
    assert done["diff"][0]["before"] == "TSIG key of _admin: generation 0\nTSIG key of zone2: generation 0\n"
    assert done["diff"][0]["after"] == "TSIG key of _admin: generation 1\nTSIG key of zone2: generation 1\n"
    with pytest.raises(AnsibleActionFail, match="label"):
        run(tmp_path, rotate=["a.b"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"zone": "local"}, "imac: zone 'local' is not a domain"),
        ({"zone": None}, "set btmm_zone"),
        ({"passphrase": None}, "set btmm_owner_passphrase"),
        ({"state": "absent"}, "name it with 'forget'"),
        ({"owner_dir": "/proc/nowhere"}, "set btmm_owner_dir"),
    ],
)
def test_faults_name_host_cause_and_fix(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleActionFail, match=words):
        run(tmp_path, **options)
