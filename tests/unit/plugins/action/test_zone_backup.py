# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone_backup action: sealed, unchanged when nothing changed, restored with the owner's state."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import zone_backup
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore

from tests.unit.acting import no_host, run_action

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ZONE, PASSPHRASE = "bob.members.example", "correct horse"


class Host:
    """Stands in for the module on the zone host."""

    def __init__(self) -> None:
        self.archive = "b25l"
        self.calls: list[Mapping[str, Any]] = []

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert name == "btmm.fleet.zone_archive"
        self.calls.append(arguments)
        if "archive" not in arguments:
            return {"changed": False, "archive": self.archive, "digest": "d", "serials": {ZONE: 1}}
        changed, self.archive = arguments["archive"] != self.archive, arguments["archive"]
        return {"changed": changed, "digest": "d"}


@pytest.fixture
def store(tmp_path: Path) -> OwnerStore:
    made = OwnerStore(tmp_path / "owner", ZONE, PASSPHRASE)
    made.init()
    return made


def run(place: Path, host: Any, *, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {
        "zone": ZONE,
        "owner_dir": str(place / "owner"),
        "passphrase": PASSPHRASE,
        "file": str(place / "backup" / "zone.sealed"),
        **options,
    }
    return run_action(zone_backup.ActionModule, given, {}, host, check=check)


def test_a_backup_is_made_when_something_changed(store: OwnerStore, tmp_path: Path) -> None:
    host, file = Host(), tmp_path / "backup" / "zone.sealed"
    assert run(tmp_path, host, check=True)["changed"]
    assert not file.exists()
    assert [run(tmp_path, host)["changed"] for _ in range(2)] == [True, False]
    assert file.stat().st_mode & 0o777 == 0o600
    assert "b25l" not in file.read_text()
    assert str(store.prefix) not in file.read_text()
    host.archive = "dHdv"
    assert run(tmp_path, host)["changed"]
    assert host.calls[0]["zones"][0]["name"] == ZONE
    assert host.calls[0]["zones"][1]["name"].endswith("d.f.ip6.arpa.")


def test_all_comes_back_after_both_were_lost(store: OwnerStore, tmp_path: Path) -> None:
    host, secret = Host(), store.tsig_secret("imac")
    run(tmp_path, host)
    shutil.rmtree(tmp_path / "owner")
    new = Host()
    new.archive = ""
    assert run(tmp_path, new, check=True, state="restored")["changed"]
    assert not (tmp_path / "owner").exists()
    assert run(tmp_path, new, state="restored")["changed"]
    assert new.archive == host.archive
    assert OwnerStore(tmp_path / "owner", ZONE, PASSPHRASE).tsig_secret("imac") == secret
    assert not run(tmp_path, new, state="restored")["changed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"file": "/none"}, "imac: there is no backup /none; name the file"),
        ({"passphrase": "wrong horse"}, "imac: the passphrase does not open .*zone.sealed"),
    ],
)
def test_what_cannot_be_restored_is_told(
    store: OwnerStore, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    run(tmp_path, Host())
    with pytest.raises(AnsibleActionFail, match=words):
        run(tmp_path, no_host, state="restored", **options)
    (tmp_path / "backup" / "zone.sealed").write_text("{}")
    with pytest.raises(AnsibleActionFail, match=r"zone.sealed is damaged: .*restore"):
        run(tmp_path, no_host, state="restored")


def test_a_host_that_cannot_be_read_is_named(store: OwnerStore, tmp_path: Path) -> None:
    done = run(tmp_path, lambda *_: {"failed": True, "msg": "named does not run: start it"})
    assert done["failed"]
    assert done["msg"] == "imac: named does not run: start it"
    assert not (tmp_path / "backup").exists()
