# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import file_set

from tests.unit.acting import no_host, run_action


def sent(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the action hands over to the host."""
    seen: list[Mapping[str, Any]] = []

    def on_host(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        assert name == "btmm.fleet.file_set"
        seen.append(given)
        return {"changed": False}

    run_action(file_set.ActionModule, arguments, {}, on_host)
    return seen[0]


def test_a_template_is_read_from_the_collection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "role").mkdir()
    (tmp_path / "role/a.j2").write_text("a\n")
    monkeypatch.setattr(file_set, "TEMPLATES", tmp_path)
    given = sent({"files": [{"dest": "/a", "template": "role/a.j2"}]})
    assert given["files"] == [{"dest": "/a", "template": "role/a.j2", "content": "a\n"}]


def test_a_secret_goes_apart_from_what_is_logged() -> None:
    given = sent({"files": [{"dest": "/s", "content": "hush", "secret": True}]})
    assert given["secrets"] == {"/s": "hush"}
    assert "hush" not in str(given["files"])


def test_nothing_is_rendered_to_remove_it() -> None:
    given = sent({"files": [{"dest": "/a", "template": "no/such.j2"}], "state": "absent"})
    assert given["files"] == [{"dest": "/a", "template": "no/such.j2"}]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"dest": "/a"}, "give 'template' or 'content'"),
        ({"dest": "/a", "template": "no/such.j2"}, "there is no template"),
    ],
)
def test_a_role_that_is_wrong_is_told(entry: dict[str, str], told: str) -> None:
    with pytest.raises(AnsibleActionFail, match=told):
        run_action(file_set.ActionModule, {"files": [entry]}, {}, no_host)
