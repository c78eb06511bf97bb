# SPDX-License-Identifier: GPL-3.0-or-later
"""Action and module together: the module runs here as on a host, in a folder of the test."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import host_identity, owner_store
from ansible_collections.btmm.fleet.plugins.module_utils import keyfiles, x509
from ansible_collections.btmm.fleet.plugins.modules import host_identity as module

from tests.unit.acting import run_action
from tests.unit.running import run_module

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = ("private/k.pem", "x509/c.pem", "x509ca/ca.pem")


class Fleet:
    """Hosts that are folders, and an owner."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place, self.capsys = place, capsys
        self.sent: list[dict[str, Any]] = []

    def variables(self, host: str) -> dict[str, Any]:
        return {
            "inventory_hostname": host,
            "inventory_hostname_short": host,
            "inventory_dir": str(self.place),
            "btmm_zone": "Bob.Members.Example.",
            "btmm_owner_passphrase": "correct horse",
        }

    def owner(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        return run_action(owner_store.ActionModule, options, self.variables("imac"), check=check)

    def enrol(self, host: str = "imac", *, check: bool = False, **options: Any) -> dict[str, Any]:
        key, certificate, ca = (str(self.place / host / name) for name in FILES)
        arguments = {
            "key_path": key, "certificate_path": certificate, "ca_path": ca,
            "owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name, **options,
        }  # fmt: skip
        self.sent = []

        def on_host(name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
            assert name == "btmm.fleet.host_identity"
            self.sent.append(dict(sent))
            return run_module(module.main, sent, self.capsys, check=check)

        return run_action(host_identity.ActionModule, arguments, self.variables(host), on_host, check=check)

    def file(self, number: int, host: str = "imac") -> Path:
        return self.place / host / FILES[number]


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fleet:
    made = Fleet(tmp_path, capsys)
    made.owner()
    return made


def test_first_run_installs_second_asks_once(fleet: Fleet) -> None:
    first = fleet.enrol()
    assert first["changed"]
    assert first["name"] == "imac.bob.members.example"
    assert len(fleet.sent) == 2
    assert stat.S_IMODE(fleet.file(0).stat().st_mode) == 0o600
    assert fleet.file(1).read_text() == first["certificate"]
    assert fleet.file(2).read_text() == fleet.owner()["ca_certificate"]
    second = fleet.enrol()
    assert len(fleet.sent) == 1
    assert not second["changed"]
    assert second["diff"] == []
    assert {name: second[name] for name in ("ula", "fingerprint", "not_after", "serial")} == {
        name: first[name] for name in ("ula", "fingerprint", "not_after", "serial")
    }


def test_neither_key_nor_passphrase_travels(fleet: Fleet) -> None:
    result = fleet.enrol()
    key = fleet.file(0).read_text()
    for text in (str(result), str(fleet.sent)):
        assert "PRIVATE" not in text
        assert key.splitlines()[1] not in text
        assert "correct horse" not in text


def test_check_mode_on_a_clean_host_and_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = Fleet(tmp_path, capsys)
    prefix = clean.owner(check=True)["prefix"]
    planned = clean.enrol(check=True)
    assert planned["changed"]
    assert planned["ula"].startswith(prefix.removesuffix("::/48"))
    text = "".join(diff["after"] for diff in planned["diff"])
    assert "private key (ECDSA P-256)" in text
    assert "names: imac.bob.members.example, fd" in text
    assert list(tmp_path.iterdir()) == []


def test_check_mode_tells_conflicts(fleet: Fleet) -> None:
    fleet.enrol("imac")
    fleet.enrol("mini")
    fleet.file(0, "mini").write_bytes(fleet.file(0).read_bytes())
    for check in (True, False):
        with pytest.raises(AnsibleActionFail, match=r"mini: it carries the private key of host 'imac'"):
            fleet.enrol("mini", check=check)
    fleet.file(0, "mini").unlink()
    with pytest.raises(AnsibleActionFail, match=r"mini: the label 'imac' belongs to host 'imac'"):
        fleet.enrol("mini", label="imac")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_certificate_is_made_again(fleet: Fleet, content: bytes) -> None:
    before = fleet.enrol()
    fleet.file(1).write_bytes(content)
    after = fleet.enrol()
    assert after["changed"]
    assert after["ula"] == before["ula"]
    assert fleet.file(1).read_text() == after["certificate"]
    assert not fleet.enrol()["changed"]


def test_a_lost_ca_file_alone_is_put_back(fleet: Fleet) -> None:
    before = fleet.enrol()
    fleet.file(2).unlink()
    after = fleet.enrol()
    assert (after["changed"], after["reason"], after["serial"]) == (True, "", before["serial"])
    assert fleet.file(2).exists()


def test_a_new_key_is_a_new_address(fleet: Fleet) -> None:
    before = fleet.enrol()
    fleet.file(0).unlink()
    assert fleet.enrol()["ula"] != before["ula"]


def test_another_type_of_key_is_a_new_key(fleet: Fleet) -> None:
    before = fleet.enrol()
    key = fleet.file(0).read_text()
    planned = fleet.enrol(check=True, key_type="rsa")
    assert planned["changed"]
    assert planned["ula"] != before["ula"]
    assert "private key (RSA, 3072 bits)" in "".join(diff["after"] for diff in planned["diff"])
    assert fleet.file(0).read_text() == key
    after = fleet.enrol(key_type="rsa")
    assert after["reason"] == "the host's key is another one"
    assert after["ula"] not in (before["ula"], planned["ula"])
    assert not fleet.enrol(key_type="rsa")["changed"]
    assert fleet.enrol()["reason"] == "the host's key is another one"


def test_an_rsa_key_that_nobody_asked_for(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host cannot choose: the type comes from the inventory."""
    fleet.enrol(key_type="rsa")
    monkeypatch.setattr(keyfiles.KeyFiles, "has_key", lambda _: True)
    with pytest.raises(AnsibleActionFail, match="not an ECDSA P-256 key; delete the key file"):
        fleet.enrol()


def test_the_owner_must_know_the_certificate(fleet: Fleet) -> None:
    first = fleet.enrol()
    assert fleet.owner(state="absent", forget="imac")["changed"]
    assert not fleet.owner(state="absent", forget="imac")["changed"]
    again = fleet.enrol()
    assert again["reason"] == "the owner has no record of it"
    assert again["serial"] != first["serial"]


def test_renewed_with_a_third_of_its_life_left(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fleet.enrol()

    later_on = mock.Mock(now=lambda _: datetime.now(UTC) + timedelta(days=280))
    monkeypatch.setattr(x509, "datetime", later_on)
    later = fleet.enrol()
    assert "third" in later["reason"]
    assert later["ula"] == first["ula"]
    assert later["not_after"] > first["not_after"]


def test_server(fleet: Fleet) -> None:
    result = fleet.enrol("zone", role="server", addresses=["203.0.113.10"], mode="0640")
    assert result["ula"] == ""
    assert "203.0.113.10" in x509.describe(result["certificate"])
    assert stat.S_IMODE(fleet.file(0, "zone").stat().st_mode) == 0o640
    with pytest.raises(AnsibleActionFail, match=r"zone: .*correct 'addresses'"):
        fleet.enrol("zone", role="server", addresses=["nowhere"])


def test_absent(fleet: Fleet) -> None:
    fleet.enrol()
    assert fleet.enrol(state="absent", check=True)["changed"]
    assert fleet.file(0).exists()
    assert fleet.enrol(state="absent")["changed"]
    assert not any(fleet.file(number).exists() for number in range(3))
    assert not fleet.enrol(state="absent")["changed"]


def test_a_key_that_is_none(fleet: Fleet) -> None:
    fleet.enrol()
    fleet.file(0).write_text("junk")
    failed = fleet.enrol()
    assert failed["failed"]
    assert failed["msg"].startswith("imac: the private key ")


def test_a_wrong_mode_alone_is_mended(fleet: Fleet) -> None:
    fleet.enrol()
    fleet.file(0).chmod(0o644)
    assert fleet.enrol()["changed"]
    assert stat.S_IMODE(fleet.file(0).stat().st_mode) == 0o600


def test_missing_owner_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AnsibleActionFail, match=r"imac: there is no owner's state .*owner_store"):
        Fleet(tmp_path, capsys).enrol()
