# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm login` and `btmm ticket` with MIT krb5's client and KDC, and a certificate that the owner's action signed."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.btmm.fleet.plugins.action import user_certificate
from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
from ansible_collections.btmm.fleet.plugins.module_utils.user_files import UserFiles
from ansible_collections.btmm.fleet.plugins.modules import user_certificate as module
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.local_kdc import ZONE, Owner
from tests.unit.acting import run_action
from tests.unit.local_host import NAME, PASSPHRASE, Host
from tests.unit.running import run_module
from watcher import cli, places
from watcher.sign_on import realms
from watcher.sign_on.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a KDC's files are root's")

OWN = "correct horse battery"


class Laptop:
    """Where alice works: a home, Kerberos' configuration, and the fleet's owner."""

    def __init__(self, host: Host, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.host, self.patch, self.capsys = host, patch, capsys
        self.home = host.place / "home"
        self.account = SimpleNamespace(pw_name="alice", pw_dir=str(self.home), pw_uid=os.getuid(), pw_gid=os.getgid())
        self.drop_ins = host.place / "krb5.conf.d"
        for folder in (self.home, self.drop_ins, host.place / "btmm" / ZONE, host.place / "tickets"):
            folder.mkdir(parents=True)
        (host.place / "btmm" / ZONE / places.MAIN_FILE).write_text("{}")
        conf = host.place / "client.conf"
        conf.write_text(
            f"includedir {self.drop_ins}\n[libdefaults]\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
            " rdns = false\n dns_canonicalize_hostname = false\n udp_preference_limit = 1\n"
            f" default_ccache_name = DIR:{host.place / 'tickets'}\n"
        )
        patch.setenv("KRB5_CONFIG", str(conf))
        patch.delenv("KRB5CCNAME", raising=False)
        patch.setattr("pwd.getpwuid", lambda _: self.account)
        patch.setattr(places, "CONFIG_ROOT", host.place / "btmm")
        patch.setattr(realms, "DROP_INS", self.drop_ins)
        self.realm = host.make()["realm"]
        host.mint()
        self.know(self.realm)

    @property
    def files(self) -> UserFiles:
        return UserFiles.at(self.home, ZONE)

    def know(self, realm: str) -> None:
        """Write what the watcher writes for a peer."""
        (self.drop_ins / f"btmm-{ZONE}-imac.conf").write_text(
            f"[realms]\n    {realm} = {{\n        kdc = 127.0.0.1:{self.host.port}\n"
            f"        pkinit_anchors = FILE:{self.host.directory / 'ca.pem'}\n    }}\n\n"
            f"[domain_realm]\n    {NAME} = {realm}\n"
        )

    def btmm(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.main(list(arguments))
        shown = self.capsys.readouterr()
        return code, shown.out, shown.err

    def sign(self) -> None:
        """Do what playbooks/login.yml does."""

        def on_host(_: str, sent: Mapping[str, Any]) -> dict[str, Any]:
            return run_module(module.main, sent, self.capsys)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pwd.getpwnam", lambda _: self.account)
            variables = {**self.host.variables, "btmm_users": [{"name": "alice"}]}
            assert run_action(user_certificate.ActionModule, {"user": "alice"}, variables, on_host)["changed"]

    def enrol(self) -> None:
        assert self.btmm("login")[0] == 0
        self.sign()

    def shown(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def another_ticket(self) -> None:
        """Have a second ticket in the collection, which is the first one from then on."""
        keytab = str(self.host.keytab)
        subprocess.run(["kinit", "-k", "-t", keytab, f"host/{NAME}@{self.realm}"], check=True)


@pytest.fixture
def laptop(tmp_path: Path, capsys: pytest.CaptureFixture[str], ports: range, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    return Laptop(Host(tmp_path, capsys, ports[0]), monkeypatch, capsys)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Type at the terminal, one line for each question; what was asked is in the list that is returned."""

    def typing(*lines: str) -> list[str]:
        waiting, asked = list(lines), []

        def answer(prompt: str) -> str:
            asked.append(prompt)
            return waiting.pop(0)

        monkeypatch.setattr("getpass.getpass", answer)
        return asked

    return typing


def fake_clock(patch: pytest.MonkeyPatch, offset_s: int) -> None:
    """Have what is started from here on live at another time."""
    command, path = ["faketime", "-f", "+0", "env"], {"PATH": os.environ["PATH"]}
    shown = subprocess.run(command, env=path, capture_output=True, text=True, check=True).stdout
    library = next(line.partition("=")[2] for line in shown.splitlines() if line.startswith("LD_PRELOAD="))
    patch.setenv("LD_PRELOAD", library)
    patch.setenv("FAKETIME", f"{offset_s:+d}")


def at_clock(laptop: Laptop, offset_s: int) -> tuple[int, str]:
    """Run `btmm ticket` where the clock is wrong by so much; return its status and complaint."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        fake_clock(patch, offset_s)
        patch.setattr(time, "time", lambda: real() + offset_s)
        code, _, wrong = laptop.btmm("ticket", "imac")
    return code, wrong


def test_from_login_to_ticket(laptop: Laptop) -> None:
    code, said, _ = laptop.btmm("login")
    assert (code, said.startswith(f"{ZONE}  alice: the owner of {ZONE} has yet to sign")) == (0, True)
    assert laptop.files.key.stat().st_mode & 0o777 == 0o600
    assert laptop.files.folder.stat().st_mode & 0o777 == 0o700
    with laptop.host.serving(laptop.realm):
        code, _, wrong = laptop.btmm("ticket", "imac")
        assert (code, "until then there are no tickets" in wrong) == (1, True)
        laptop.sign()
        assert laptop.btmm("login")[1].startswith(f"{ZONE}  alice  until 20")
        code, said, wrong = laptop.btmm("ticket", NAME)
        assert (code, wrong) == (0, "")
        assert said.startswith(f"{NAME}  alice@{laptop.realm}  until 20")
        service = ["kvno", "-k", str(laptop.host.keytab), "-S", "host", NAME]
        assert "keytab entry valid" in subprocess.run(service, capture_output=True, text=True, check=True).stdout
        laptop.another_ticket()
        assert f"Default principal: alice@{laptop.realm}\n" not in laptop.shown("klist")
    # What there is does for ten hours, and no KDC is asked. The host that was asked for last is the first one.
    assert laptop.btmm("ticket", "imac") == (0, said, "")
    assert f"Default principal: alice@{laptop.realm}\n" in laptop.shown("klist")
    assert laptop.btmm("ticket", "--quiet", NAME) == (0, "", "")


def test_a_ticket_that_is_about_to_end_is_none(laptop: Laptop) -> None:
    laptop.host.make(max_life="2m")
    laptop.enrol()
    with laptop.host.serving(laptop.realm):
        assert laptop.btmm("ticket", "imac")[0] == 0
    code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, "is not reached" in wrong) == (1, True)


def test_who_has_no_name_here(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert "has no name here" in laptop.btmm("login")[2]
    laptop.account.pw_name = "Alice.Liddell"
    monkeypatch.setattr("pwd.getpwuid", lambda _: laptop.account)
    assert "'Alice.Liddell' cannot be a user of the fleet" in laptop.btmm("login")[2]


def test_quiet_where_nobody_logged_in(laptop: Laptop) -> None:
    """Ssh asks for every host of the zone; who has no certificate logs in otherwise."""
    assert laptop.btmm("ticket", "--quiet", NAME) == (1, "", "")
    code, _, wrong = laptop.btmm("ticket", NAME)
    assert (code, "alice has no key for bob.members.example here; run 'btmm login'" in wrong) == (1, True)
    assert laptop.btmm("ticket", "--quiet", f"other.{ZONE}") == (1, "", "")
    laptop.enrol()
    code, _, wrong = laptop.btmm("ticket", "--quiet", f"other.{ZONE}")
    assert (code, f"knows no realm of other.{ZONE}" in wrong) == (1, True)


def test_a_key_under_a_passphrase(laptop: Laptop, typed: Callable[..., list[str]]) -> None:
    typed("short")
    assert "at least 8 characters" in laptop.btmm("login", "--passphrase")[2]
    typed(OWN, "correct house battery")
    assert "two different" in laptop.btmm("login", "--passphrase")[2]
    assert not laptop.files.key.exists()
    typed(OWN, OWN)
    assert laptop.btmm("login", "--passphrase")[0] == 0
    assert "ENCRYPTED" in laptop.files.key.read_text()
    laptop.sign()
    with laptop.host.serving(laptop.realm):
        typed("something else")
        code, _, wrong = laptop.btmm("ticket", "imac")
        assert (code, "can't be opened with this passphrase" in wrong) == (1, True)
        asked = typed(OWN)
        assert laptop.btmm("ticket", "imac")[0] == 0
        assert asked == [f"Passphrase for the key of {ZONE}: "]
        asked = typed()
        assert laptop.btmm("ticket", "imac")[0] == 0
        assert asked == []


PIN = "123456"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of a token, which SoftHSM keeps in a folder."""
    (tmp_path / "hsm").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path / 'hsm'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    command = ["softhsm2-util", "--init-token", "--free", "--label", "alice's card", "--pin", PIN, "--so-pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    return "pkcs11:token=alice%27s%20card;object=unused?module-path=/usr/lib/softhsm/libsofthsm2.so"


def test_a_key_on_a_token(laptop: Laptop, token: str, typed: Callable[..., list[str]]) -> None:
    typed("654321")
    assert "not the PIN of the token 'alice's card'" in laptop.btmm("login", "--pkcs11", token)[2]
    assert not laptop.files.folder.exists()
    typed(PIN)
    code, said, wrong = laptop.btmm("login", "--pkcs11", token)
    assert (code, "has yet to sign" in said) == (0, True), wrong
    assert sorted(path.name for path in laptop.files.folder.iterdir()) == ["user.csr", "user.uri"]
    laptop.sign()
    with laptop.host.serving(laptop.realm):
        asked = typed("654321")
        code, _, wrong = laptop.btmm("ticket", "imac")
        assert (code, "not the PIN" in wrong, asked) == (1, True, ["PIN of the token 'alice's card': "])
        typed(PIN)
        code, said, wrong = laptop.btmm("ticket", "imac")
        assert (code, said.startswith(f"{NAME}  alice@{laptop.realm}  until")) == (0, True), wrong
        # A renewed certificate takes the place of the former one.
        laptop.files.certificate.unlink()
        laptop.sign()
        laptop.shown("kdestroy", "-A")
        typed(PIN)
        assert laptop.btmm("ticket", "imac")[0] == 0


def test_another_key_on_a_token(laptop: Laptop, token: str, typed: Callable[..., list[str]]) -> None:
    laptop.enrol()
    assert "add --new to replace it" in laptop.btmm("login", "--pkcs11", token)[2]
    fingerprints = []
    for _ in range(2):
        typed(PIN)
        assert laptop.btmm("login", "--new", "--pkcs11", token)[0] == 0
        fingerprints.append(Credentials("alice", ZONE, laptop.files).fingerprint())
    assert fingerprints[0] != fingerprints[1]
    assert not laptop.files.key.exists()
    # What is on the token stays there; a lost folder is made anew for the same key.
    shutil.rmtree(laptop.files.folder)
    typed(PIN)
    assert laptop.btmm("login", "--pkcs11", token)[0] == 0
    assert Credentials("alice", ZONE, laptop.files).fingerprint() == fingerprints[1]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("alice", "'alice' names no token; write it as in 'pkcs11:token="),
        ("pkcs11:token=x", "names no token"),
        ("pkcs11:token=a%3Ab?module-path=/usr/lib/softhsm/libsofthsm2.so", "names no token"),
        ("pkcs11:token=none?module-path=/usr/lib/softhsm/libsofthsm2.so", "there is no token 'none'; plug it in"),
        ("pkcs11:token=none?module-path=/nowhere", "the token 'none' can't be used: "),
    ],
)
def test_no_such_token(laptop: Laptop, token: str, typed: Callable[..., list[str]], uri: str, words: str) -> None:
    typed(PIN)
    code, _, wrong = laptop.btmm("login", "--pkcs11", uri)
    assert (code, words in wrong) == (1, True), wrong


def test_the_passphrase_is_asked_for_at_the_terminal(laptop: Laptop) -> None:
    """For real: ssh gives the command no standard input, but there is a terminal."""
    script = "from watcher.sign_on.passphrase import ask; print('<' + ask('Say it: ') + '>')"
    process, terminal = pty.fork()
    if not process:  # pragma: no cover - the child
        with Path("/dev/null").open() as null:
            os.dup2(null.fileno(), 0)
        os.execv(sys.executable, [sys.executable, "-c", script])  # noqa: S606 - this interpreter
    shown = b""
    while b"Say it: " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"a secret\n")
    while b">" not in shown:
        shown += os.read(terminal, 1024)
    os.waitpid(process, 0)
    assert shown.split() == [b"Say", b"it:", b"<a", b"secret>"]  # once: it is not echoed


def test_login_keeps_the_key(laptop: Laptop) -> None:
    laptop.enrol()
    before = laptop.files.key.read_bytes()
    assert laptop.btmm("login")[0] == 0
    code, _, wrong = laptop.btmm("login", "--passphrase")
    assert (code, "add --new to replace it" in wrong) == (1, True)
    assert laptop.files.key.read_bytes() == before
    code, said, _ = laptop.btmm("login", "--new")
    assert (code, "has yet to sign" in said) == (0, True)
    assert laptop.files.key.read_bytes() != before


def test_a_certificate_for_another_key(laptop: Laptop) -> None:
    laptop.enrol()
    certificate = laptop.files.certificate.read_bytes()
    laptop.btmm("login", "--new")
    laptop.files.certificate.write_bytes(certificate)
    code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, "is for another key; the owner of" in wrong) == (1, True)


@pytest.mark.parametrize("damaged", ["certificate", "request"])
def test_damaged_files(laptop: Laptop, damaged: str) -> None:
    laptop.enrol()
    getattr(laptop.files, damaged).write_text("junk")
    code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, f"user.{'pem' if damaged == 'certificate' else 'csr'} is damaged" in wrong) == (1, True)


def test_what_the_kdc_refuses(laptop: Laptop) -> None:
    laptop.enrol()
    code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, f"the KDC of {NAME} is not reached; see 'btmm connect {NAME}'" in wrong) == (1, True)
    with laptop.host.serving(laptop.realm):
        laptop.host.mint(users=["bob"], exclusive=True)
        code, _, wrong = laptop.btmm("ticket", "imac")
        assert (code, f"alice is no user of {NAME}; list him in btmm_users" in wrong) == (1, True)
    assert laptop.shown("klist", "-A") == ""


def test_a_revoked_certificate(laptop: Laptop) -> None:
    laptop.enrol()
    store = OwnerStore(laptop.host.place / ".btmm", ZONE, PASSPHRASE)
    certificate = cx509.load_pem_x509_certificate(laptop.files.certificate.read_bytes())
    begins, ends = store.ca.not_valid_before_utc, store.ca.not_valid_after_utc
    crl = (
        cx509.CertificateRevocationListBuilder(store.ca.subject, begins, ends)
        .add_revoked_certificate(cx509.RevokedCertificateBuilder(certificate.serial_number, begins).build())
        .sign(store._ca_key, hashes.SHA256())
    )
    path = laptop.host.directory / "crl.pem"
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    conf = laptop.host.directory / "kdc.conf"
    conf.write_text(conf.read_text().replace("pkinit_anchors", f"pkinit_revoke = FILE:{path}\n        pkinit_anchors"))
    with laptop.host.serving(laptop.realm):
        code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, "alice's certificate is revoked" in wrong) == (1, True), wrong


def test_another_owners_kdc(laptop: Laptop) -> None:
    """Its certificate is not believed; kinit would ask for a password next, and asks nobody."""
    laptop.enrol()
    other, key = x509.make_ca(ZONE, OwnerStore(laptop.host.place / ".btmm", ZONE, PASSPHRASE).prefix)
    Owner(other, key).machine(laptop.host.place, "other", x509.Profile(NAME, realm=laptop.realm))
    for source, target in (("other.crt", "kdc.pem"), ("other.key", "key.pem")):
        (laptop.host.directory / target).write_bytes((laptop.host.place / source).read_bytes())
    with laptop.host.serving(laptop.realm):
        code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, f"{NAME} gives alice no ticket: " in wrong, "assword" in wrong) == (1, True, False), wrong


HOUR = 3600
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("offset_s", "status", "words"),
    [
        (-HOUR, 1, "this host's clock is 60 minutes behind that of imac"),
        (500 * DAY, 1, "this host's clock is 500 days ahead of that of imac"),
        # Tickets come with the KDC's time, so these serve; but whoever looks at them would be misled.
        (3 * HOUR, 0, "this host's clock is 3 hours ahead of that of imac"),
        (300 * DAY, 0, "this host's clock is 300 days ahead of that of imac"),
        (60, 0, ""),
    ],
)
def test_a_wrong_clock(laptop: Laptop, offset_s: int, status: int, words: str) -> None:
    laptop.enrol()
    with laptop.host.serving(laptop.realm):
        code, wrong = at_clock(laptop, offset_s)
    assert (code, words in wrong, wrong == "") == (status, True, not words), wrong


@pytest.mark.parametrize(("offset_s", "words"), [(-HOUR, "60 minutes ahead of"), (500 * DAY, "500 days behind")])
def test_a_wrong_clock_at_the_kdc(laptop: Laptop, offset_s: int, words: str) -> None:
    laptop.enrol()
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            fake_clock(patch, offset_s)
            stack.enter_context(laptop.host.serving(laptop.realm))
        code, _, wrong = laptop.btmm("ticket", "imac")
    assert (code, f"this host's clock is {words}" in wrong) == (1, True), wrong


def test_an_expired_certificate(laptop: Laptop) -> None:
    """The clock is right on both sides, and the owner has to do something."""
    laptop.enrol()
    with pytest.MonkeyPatch.context() as patch:
        fake_clock(patch, 500 * DAY)
        with laptop.host.serving(laptop.realm):
            code, wrong = at_clock(laptop, 500 * DAY)
    assert (code, "alice's certificate expired at 20" in wrong, "clock" in wrong) == (1, True, False), wrong


def test_the_kdcs_clock(laptop: Laptop) -> None:
    realm = realms.of_host(NAME)
    assert realm == realms.Realm(laptop.realm, "127.0.0.1", laptop.host.port)
    assert realm.clock() is None
    with laptop.host.serving(laptop.realm):
        theirs = realm.clock()
    assert theirs is not None
    assert abs(theirs - time.time()) < 5
