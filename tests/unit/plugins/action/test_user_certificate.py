# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks for on a host, and what the owner signs: action and module together, in a home of the test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import owner_store, revocation, user_certificate
from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
from ansible_collections.btmm.fleet.plugins.module_utils.user_files import UserFiles, acting_as
from ansible_collections.btmm.fleet.plugins.modules import user_certificate as module

from tests.unit.acting import run_action
from tests.unit.running import run_module
from watcher.sign_on.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

ZONE = "bob.members.example"
PASSPHRASE = "correct horse"
NOBODY = pwd.getpwnam("nobody")


class Home:
    """The home of alice on one host, and the owner."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], label: str = "imac") -> None:
        self.place, self.capsys, self.label = place, capsys, label
        self.path = place / label
        self.path.mkdir(exist_ok=True)
        self.sent: list[dict[str, Any]] = []
        if os.geteuid() == 0:
            os.chown(self.path, NOBODY.pw_uid, NOBODY.pw_gid)
        self.owner()

    @property
    def files(self) -> UserFiles:
        return UserFiles.at(self.path, ZONE)

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "inventory_hostname": self.label, "inventory_hostname_short": self.label, "inventory_dir": str(self.place),
            "btmm_zone": f"{ZONE.title()}.", "btmm_owner_passphrase": PASSPHRASE,
            "btmm_users": [{"name": "alice"}, {"name": "carol"}],
        }  # fmt: skip

    def owner(self, **options: Any) -> dict[str, Any]:
        return run_action(owner_store.ActionModule, options, self.variables)

    def ask(self, passphrase: str = "") -> None:
        """Do what `btmm login` does, as the user."""
        with acting_as(NOBODY):
            Credentials("alice", ZONE, self.files).make_key(passphrase)

    def sign(self, user: str = "alice", *, check: bool = False, **options: Any) -> dict[str, Any]:
        self.sent = []

        def account(name: str) -> SimpleNamespace:
            if name != "alice":
                raise KeyError(name)
            uid, gid = (NOBODY.pw_uid, NOBODY.pw_gid) if os.geteuid() == 0 else (os.getuid(), os.getgid())
            return SimpleNamespace(pw_name="nobody", pw_uid=uid, pw_gid=gid, pw_dir=str(self.path))

        def on_host(name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
            assert name == "btmm.fleet.user_certificate"
            self.sent.append(dict(sent))
            with mock.patch("pwd.getpwnam", account):
                return run_module(module.main, sent, self.capsys, check=check)

        arguments = {"user": user, **options}
        return run_action(user_certificate.ActionModule, arguments, self.variables, on_host, check=check)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can reach, as pytest's are not."""
    path = Path(tempfile.mkdtemp(prefix="btmm-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home(place: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    return Home(place, capsys)


def test_a_certificate_says_who_the_user_is(home: Home) -> None:
    home.ask()
    first = home.sign()
    assert (first["changed"], first["asked"], first["reason"]) == (True, True, "there is none")
    assert first["key_fingerprint"] == Credentials("alice", ZONE, home.files).fingerprint()
    (home.place / "ca.pem").write_text(home.owner()["ca_certificate"])
    shown = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-show_chain", "-CAfile", home.place / "ca.pem",
         home.files.certificate], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"O = {ZONE}, CN = alice" in shown
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", home.files.certificate],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "TLS Web Client Authentication, PKINIT Client Auth" in text
    assert "Digital Signature\n" in text
    assert "Alternative Name" not in text
    assert "sbgp-ipAddrBlock" not in text


def test_the_second_run_asks_once(home: Home) -> None:
    home.ask("correct horse battery")
    first = home.sign()
    second = home.sign()
    assert (second["changed"], second["diff"], len(home.sent)) == (False, [], 1)
    assert second["serial"] == first["serial"]
    assert home.sign(renew=True)["serial"] != first["serial"]


def test_no_secret_travels(home: Home) -> None:
    home.ask()
    shown = str(home.sign()) + str(home.sent)
    assert "PRIVATE" not in shown
    assert home.files.key.read_text().splitlines()[1] not in shown
    assert PASSPHRASE not in shown


def test_who_did_not_ask_gets_none(home: Home) -> None:
    assert home.sign() == home.sign(check=True) == {
        "changed": False, "asked": False, "request": "", "certificate": "", "invocation": mock.ANY,
    }  # fmt: skip
    assert home.sign("carol")["asked"] is False  # of the zone, but not of this host
    assert not home.files.folder.exists()


def test_who_is_not_listed_is_refused(home: Home) -> None:
    home.ask()
    for check in (False, True):
        with pytest.raises(AnsibleActionFail, match=r"imac: 'mallory' is no user of bob\.members\.example; list him"):
            home.sign("mallory", check=check)
        with pytest.raises(AnsibleActionFail, match=r"imac: '\.\./root' cannot be a user"):
            home.sign("../root", check=check)
    assert home.sent == []


def test_check_mode(home: Home) -> None:
    home.ask()
    planned = home.sign(check=True)
    assert (planned["changed"], planned["reason"], planned["certificate"]) == (True, "there is none", "")
    (diff,) = planned["diff"]
    assert f"subject: CN=alice,O={ZONE}\n" in diff["after"]
    assert not home.files.certificate.exists()
    home.sign()
    assert not home.sign(check=True)["changed"]


def test_another_key_gets_another_certificate(home: Home) -> None:
    home.ask()
    home.sign()
    home.ask()
    again = home.sign()
    assert (again["changed"], again["reason"]) == (True, "there is none")


def test_one_user_on_two_hosts(home: Home) -> None:
    other = Home(home.place, home.capsys, "mini")
    home.ask()
    other.ask()
    assert home.sign()["changed"]
    assert other.sign()["changed"]
    assert not home.sign()["changed"]
    store = OwnerStore(home.place / ".btmm", ZONE, PASSPHRASE)
    assert [(each.label, each.role) for each in store.enrolments()] == [("imac", "user-alice"), ("mini", "user-alice")]
    # With the host goes what its users have there; not what they have elsewhere.
    assert home.owner(state="absent", forget="mini")["changed"]
    assert [each.label for each in store.enrolments()] == ["imac"]
    assert other.sign()["reason"] == "the owner has no record of it"


def test_nobody_new_gets_one_unseen(home: Home) -> None:
    """As in a rollover: renewed is what the owner knows, whatever else was left in a home meanwhile."""
    home.ask()
    assert not home.sign(known=True)["changed"]
    assert not home.files.certificate.exists()
    first = home.sign()
    assert home.sign(known=True, renew=True)["serial"] != first["serial"]
    home.ask()  # another key
    assert not home.sign(known=True, renew=True)["changed"]
    home.files.request.write_bytes(b"junk")
    assert not home.sign(known=True)["changed"]


@pytest.mark.parametrize("reason", ["key_compromise", "superseded"])
def test_who_was_revoked_is_no_more_known(home: Home, reason: str) -> None:
    home.ask()
    home.sign()
    run_action(revocation.ActionModule, {"users": ["alice"], "reason": reason}, home.variables)
    assert not home.sign(known=True)["changed"]
    if reason == "superseded":
        assert home.sign()["reason"] == "it was revoked"


def test_another_hosts_key_is_refused(home: Home) -> None:
    home.ask()
    home.sign()
    other = Home(home.place, home.capsys, "mini")
    other.ask()
    shutil.copy(home.files.request, other.files.request)
    with pytest.raises(AnsibleActionFail, match="mini: it carries the private key of host 'imac'"):
        other.sign()


def test_renewed_without_the_user(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.ask()
    first = home.sign()
    later_on = mock.Mock(now=lambda _: datetime.now(UTC) + timedelta(days=280))
    monkeypatch.setattr(x509, "datetime", later_on)
    later = home.sign()
    assert "third" in later["reason"]
    assert later["not_after"] > first["not_after"]
    assert later["key_fingerprint"] == first["key_fingerprint"]


@pytest.mark.parametrize("content", [b"junk", b"\xff\xfe", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_request_that_is_none(home: Home, content: bytes) -> None:
    home.ask()
    home.files.request.write_bytes(content)
    with pytest.raises(AnsibleActionFail, match=r"imac: .*cannot be read.*; have the user run 'btmm login --new'"):
        home.sign()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could read it")
def test_root_reads_nothing_that_the_user_can_not(home: Home) -> None:
    """The user says by links what is read and written; what he is shown is nothing of root's."""
    home.ask()
    secret = home.place / "secret"
    secret.write_text("root's\n")
    secret.chmod(0o600)
    home.files.request.unlink()
    home.files.request.symlink_to(secret)
    failed = home.sign()
    assert failed["msg"].startswith("imac: alice: ")
    assert "it is a link" in failed["msg"]
    # By a folder that is a link, too.
    (home.place / "closed").mkdir(mode=0o700)
    shutil.move(home.files.folder, home.place / "closed" / "folder")
    home.files.folder.symlink_to(home.place / "closed" / "folder")
    failed = home.sign()
    assert "Permission denied" in failed["msg"]
    assert "root's" not in str(failed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes")
def test_what_is_written_is_the_users(home: Home) -> None:
    home.ask()
    home.sign()
    assert home.files.certificate.stat().st_uid == NOBODY.pw_uid
    assert (os.geteuid(), os.getegid()) == (0, 0)
    # Where he may not write, nothing is written.
    os.chown(home.files.folder, 0, 0)
    home.files.folder.chmod(0o755)
    home.files.certificate.unlink()
    failed = home.sign()
    assert "can't be written" in failed["msg"]
    assert not home.files.certificate.exists()


def test_a_pipe_holds_nobody_up(home: Home) -> None:
    home.ask()
    home.files.request.unlink()
    os.mkfifo(home.files.request, 0o666)
    assert "is no file of btmm's" in home.sign()["msg"]


def test_absent(home: Home) -> None:
    home.ask()
    home.sign()
    assert home.sign(state="absent", check=True)["changed"]
    assert home.files.certificate.exists()
    assert home.sign("alice", state="absent")["changed"]
    assert not home.files.folder.exists()
    assert not home.sign(state="absent")["changed"]
    assert not home.sign("carol", state="absent")["changed"]
