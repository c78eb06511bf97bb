# SPDX-License-Identifier: GPL-3.0-or-later
"""Local KDCs: the action, the modules and MIT krb5 itself, all for real, in folders of the test and on loopback."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import revocation
from ansible_collections.btmm.fleet.plugins.module_utils import keytab, x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore

from tests.local_kdc import CLIENT_AUTH, ZONE, Owner
from tests.unit.acting import run_action
from tests.unit.local_host import NAME, PASSPHRASE, Host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a KDC's files are root's")

# A key of another realm, as MIT's ktutil wrote it (test_keytab.py): of another owner's zone in the same file.
FOREIGN = bytes.fromhex(
    "0502 00000048 0002 0007 4558414d504c45 0004 686f7374 0004 696d6163 00000001 6b0191b1 07 0012"
    "0020 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 00000007"
)


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], ports: range) -> Host:
    return Host(tmp_path, capsys, ports[0])


def test_a_realm_is_made_once(host: Host) -> None:
    first = host.make()
    assert first["changed"]
    assert len(host.sent) == 2
    der = subprocess.run(
        ["openssl", "x509", "-in", host.directory / "anchor.pem", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    assert first["realm"] == "LKDC:SHA1." + hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
    assert f"krbtgt/{first['realm']}@{first['realm']}" in x509.describe(first["certificate"])
    assert first["name"] == NAME
    before = host.octets()
    second = host.make()
    assert (second["changed"], second["diff"], second["realm"]) == (False, [], first["realm"])
    assert len(host.sent) == 1
    assert host.octets() == before


def test_no_secret_is_shown(host: Host) -> None:
    shown = str(host.make()) + str(host.sent) + str(host.mint(rotate=True)) + str(host.mint()) + str(host.info())
    assert "PRIVATE" not in shown
    for entry in keytab.parse(host.keytab.read_bytes()):
        assert entry.key.hex() not in shown
    for path in (host.directory / "key.pem", host.keytab, host.data / "principal", host.data / "stash"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_check_mode_on_a_clean_host(host: Host) -> None:
    before = sorted(host.place.rglob("*"))
    planned = host.make(check=True)
    assert planned["changed"]
    assert planned["realm"].startswith("LKDC:SHA1.")
    assert "krbtgt/LKDC" in "".join(diff["after"] for diff in planned["diff"])
    minted = host.mint(check=True)
    assert (minted["changed"], minted["realm"], len(minted["changed_principals"])) == (True, "", 13)
    assert sorted(host.place.rglob("*")) == before
    assert "make it with btmm.fleet.lkdc_realm" in host.mint()["msg"]


def test_realm_and_keytab_are_made_by_one_task(host: Host) -> None:
    made = host.make(principals=host.asked())
    assert (made["realm_changed"], made["keytab_changed"], len(made["changed_principals"])) == (True, True, 6 * 2 + 1)
    # What is signed is installed by a second pass, which is not for principals.
    assert ["principals" in sent for sent in host.sent] == [True, False]
    assert not host.mint()["changed"]
    again = host.make(principals=host.asked())
    assert (again["changed"], again["realm_changed"], again["diff"]) == (False, False, [])
    renewed = host.make(principals=host.asked(rotate=True), renew=True)
    assert (renewed["realm_changed"], renewed["keytab_changed"]) == (True, True)
    assert {kvno for known in host.info()["principals"] for kvno in known["kvnos"] if "/" in known["name"]} == {1, 2}
    # A KDC reads its users and services whenever it is asked for them.
    user = host.make(principals=host.asked(users=["alice", "bob"]))
    assert (user["changed"], user["realm_changed"], user["changed_principals"]) == (True, False, ["bob"])
    assert host.make(state="absent", principals=host.asked())["changed"]
    assert not host.keytab.exists()


def test_wrong_principals_are_told_before_a_realm_is_made(host: Host) -> None:
    failed = host.make(principals=host.asked(users=["al ice"]))
    assert "'al ice' cannot be a user" in failed["msg"]
    assert not host.directory.exists()


@pytest.mark.parametrize("lost", [[], ["kdc.conf"], ["kdc.conf", "anchor.pem"]])
def test_a_rehearsal_says_what_the_run_then_does(host: Host, lost: list[str]) -> None:
    """Of a realm whose database went, or that a run which was stopped has only begun."""
    host.make(principals=host.asked())
    for path in (*host.data.iterdir(), *(host.directory / name for name in lost)):
        path.unlink()
    planned, minted = host.make(check=True, principals=host.asked()), host.mint(check=True)
    done = host.make(principals=host.asked())
    for each in (planned, minted, done):
        assert (each["changed"], each["keytab_changed"], len(each["changed_principals"])) == (True, True, 13)
    assert planned["realm_changed"] is done["realm_changed"] is True


def test_minted_by_one_task_within_half_a_second(host: Host) -> None:
    # Work, not time, and not the worst: other tests of this machine shall not fail this one.
    assert any(work_s(host) < 0.5 for _ in range(3))
    before = host.octets()
    second = host.mint()
    assert (second["changed"], second["diff"], second["changed_principals"]) == (False, [], [])
    assert host.octets() == before


def work_s(host: Host) -> float:
    """Return the seconds of computing that a new realm's principals take."""
    host.make(state="absent", principals=host.asked())
    host.make()
    start = os.times()
    result = host.mint()
    end = os.times()
    assert len(result["changed_principals"]) == 6 * 2 + 1
    return sum(end[:4]) - sum(start[:4])


def test_keytab_is_as_mit_reads_it(host: Host) -> None:
    realm = host.make()["realm"]
    host.keytab.write_bytes(FOREIGN)
    host.keytab.chmod(0o600)
    host.mint()
    shown = subprocess.run(["klist", "-keK", f"FILE:{host.keytab}"], capture_output=True, text=True, check=True).stdout
    assert " host/imac@EXAMPLE (aes256-cts-hmac-sha1-96)  (0x000102030405" in shown
    assert f" cifs/{realm}@{realm} (aes256-cts-hmac-sha384-192)" in shown
    assert f" HTTP/{NAME}@{realm} (aes256-cts-hmac-sha1-96)" in shown
    entries = keytab.parse(host.keytab.read_bytes())
    assert len(shown.splitlines()) - 3 == len(entries) == 1 + 12 * 2
    for entry in entries:
        assert f"   {entry.kvno} {entry.principal}@{entry.realm} (" in shown
        assert f"(0x{entry.key.hex()})" in shown


def test_check_mode_writes_nothing(host: Host) -> None:
    host.make()
    host.mint()
    before = host.octets()
    for options in ({"users": ["bob"]}, {"rotate": True}, {"services": ["ipp"]}, {"state": "absent"}):
        assert host.mint(check=True, **options)["changed"], options
    assert host.make(check=True, renew=True)["changed"]
    assert host.octets() == before


def test_login_by_certificate(host: Host) -> None:
    realm = host.make()["realm"]
    host.mint()
    client = host.client(realm)
    with host.serving(realm):
        done = client.login("alice", host.identity())
        assert done.returncode == 0, done.stderr + (host.directory / "log").read_text()
        for service in (f"host/{NAME}", f"cifs/{realm}"):
            done = client.run("kvno", "-k", str(host.keytab), f"{service}@{realm}")
            assert "keytab entry valid" in done.stdout, done.stderr


def test_a_revoked_user_gets_no_ticket_after_a_restart(host: Host) -> None:
    realm = host.make()["realm"]
    host.mint(users=["alice", "bob"])
    alice, bob, client = host.identity(), host.identity("bob"), host.client(realm)
    with host.serving(realm):
        assert client.login("alice", alice).returncode == 0
    serial = x509.summary((host.place / "alice.crt").read_text())["serial"]
    options = {"serials": [serial], "reason": "superseded"}
    revoked = run_action(revocation.ActionModule, options, host.variables)["revoked"]
    assert [each["serial"] for each in revoked] == [serial]
    done = host.make()
    assert (done["changed"], done["reason"]) == (True, "")
    assert f"revoked: {serial}\n" in done["diff"][-1]["after"]
    assert not host.make()["changed"]
    with host.serving(realm):
        refused = client.login("alice", alice)
        assert refused.returncode != 0
        assert "revoked" in (host.directory / "log").read_text() + refused.stderr
        assert client.login("bob", bob).returncode == 0


def test_who_is_refused(host: Host) -> None:
    realm = host.make()["realm"]
    host.mint(users=["alice", "mallory"])
    client = host.client(realm)
    other_ca, other_key = x509.make_ca(ZONE, OwnerStore(host.place / ".btmm", ZONE, PASSPHRASE).prefix)

    def folder(name: str) -> Path:
        (host.place / name).mkdir()
        return host.place / name

    fleet_host = host.owner.machine(host.place, "host", x509.Profile(NAME))
    with host.serving(realm):
        refused = {
            "another user": (host.identity("mallory"), "Certificate mismatch"),
            "the like in a zone of another name": (
                host.owner.user(folder("zone"), "alice", organization=ZONE.replace(".", "x")), "Certificate mismatch",
            ),
            "the owner of a host": (fleet_host, "Inconsistent key purpose"),
            "a client of TLS alone": (
                host.owner.user(folder("tls"), "alice", purposes=[CLIENT_AUTH]), "Inconsistent key purpose",
            ),
            "another owner": (
                Owner(other_ca, other_key).user(folder("other"), "alice"), "verify",
            ),
        }  # fmt: skip
        for who, (identity, words) in refused.items():
            done = client.login("alice", identity)
            assert (done.returncode, words in done.stderr) == (1, True), (who, done.stderr)
        assert "not found in Kerberos database" in client.login("nobody", host.identity()).stderr
        right = host.identity()
        assert client.login("alice", right).returncode == 0
        host.mint(users=["mallory"], exclusive=True)
        assert "not found in Kerberos database" in client.login("alice", right).stderr


def test_another_hosts_kdc_is_not_believed(host: Host) -> None:
    """A KDC that has the owner's certificate for its own realm cannot play another one."""
    realm = host.make()["realm"]
    host.mint()
    anchor = (host.directory / "anchor.pem").read_bytes()
    (host.directory / "key.pem").unlink()
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
         host.directory / "key.pem"], check=True, capture_output=True,
    )  # fmt: skip
    (host.directory / "anchor.pem").write_bytes(anchor)
    with pytest.raises(AnsibleActionFail, match="not one that the key beside it signed"):
        host.make()
    with pytest.raises(AnsibleActionFail, match="not one that the key beside it signed"):
        host.make(check=True)
    # With a certificate of another realm its KDC is refused by the client.
    host.owner.machine(host.directory, "false", x509.Profile(NAME, realm="LKDC:SHA1." + "0" * 40))
    (host.directory / "kdc.pem").write_bytes((host.directory / "false.crt").read_bytes())
    (host.directory / "key.pem").write_bytes((host.directory / "false.key").read_bytes())
    with host.serving(realm):
        assert "KDC name mismatch" in host.client(realm).login("alice", host.identity()).stderr


def test_rotation_keeps_tickets_until_they_end(host: Host) -> None:
    realm = host.make()["realm"]
    host.mint()
    client = host.client(realm)
    service = f"host/{NAME}@{realm}"
    with host.serving(realm):
        assert client.login("alice", host.identity()).returncode == 0
        assert "kvno = 1, keytab entry valid" in client.run("kvno", "-k", str(host.keytab), service).stdout
        rotated = host.mint(rotate=True)
        assert (rotated["changed"], rotated["keytab_changed"]) == (True, True)
        assert [name for name in rotated["changed_principals"] if "/" in name] == rotated["changed_principals"]
        assert len(rotated["changed_principals"]) == 12 + 1
        # A ticket for tickets goes on, too, and the service that it is shown at has a new key.
        done = client.run("kvno", "-k", str(host.keytab), f"nfs/{NAME}@{realm}")
        assert "kvno = 2, keytab entry valid" in done.stdout
        # The ticket in the cache is still the old one, and the keytab still opens it.
        assert "kvno = 1, keytab entry valid" in client.run("kvno", "-k", str(host.keytab), service).stdout
        assert client.login("alice", host.identity()).returncode == 0
        assert "kvno = 2, keytab entry valid" in client.run("kvno", "-k", str(host.keytab), service).stdout
        assert not host.mint()["changed"]
        host.mint(rotate=True)
        purged = host.mint(old_after=0)
        assert (purged["changed"], purged["keytab_changed"], len(purged["changed_principals"])) == (True, True, 13)
        assert client.run("kvno", f"vnc/{NAME}@{realm}").returncode == 1
        assert client.login("alice", host.identity()).returncode == 0
        assert "kvno = 3, keytab entry valid" in client.run("kvno", "-k", str(host.keytab), service).stdout
    assert {entry["kvno"] for entry in host.info()["keytab"]} == {3}
    assert {kvno for known in host.info()["principals"] for kvno in known["kvnos"]} == {3}
    assert not host.mint(old_after=0)["changed"]


def test_diffs_are_to_be_read(host: Host) -> None:
    realm = host.make()["realm"]
    (principals, entries) = host.mint(services=["host"])["diff"]
    assert principals["after"] == (
        f"host/{realm}: a new key\nhost/{NAME}: a new key\n"
        "alice: no key, certificate <SUBJECT>^O=bob\\.members\\.example,CN=alice$<EKU>clientAuth\n"
    )
    assert (principals["before_header"], principals["before"]) == (f"principals of {realm}", "")
    keys = f"host/{realm}@{realm}: key 1, types 18, 20\nhost/{NAME}@{realm}: key 1, types 18, 20\n"
    assert (entries["before"], entries["after"]) == ("", keys)
    planned = host.mint(services=["host"], rotate=True, check=True)["diff"][1]
    assert (planned["before"], planned["after"]) == (keys, f"{keys}keys that are yet to be made\n")
    stale = host.keytab.read_bytes().replace(keytab.parse(host.keytab.read_bytes())[0].key, os.urandom(32))
    host.keytab.write_bytes(stale)
    (mended,) = host.mint(services=["host"], check=True)["diff"]
    assert (mended["before"], mended["after"]) == (keys, f"{keys}other keys than before\n")


@pytest.mark.parametrize("damage", ["gone", "cut", "garbage", "twice", "stale", "mode"])
def test_a_damaged_keytab_is_mended(host: Host, damage: str) -> None:
    host.make()
    host.mint()
    good = keytab.parse(host.keytab.read_bytes())
    content = host.keytab.read_bytes()
    match damage:
        case "gone":
            host.keytab.unlink()
        case "cut":
            host.keytab.write_bytes(content[:-9])
        case "garbage":
            host.keytab.write_bytes(b"\x05\x01" + os.urandom(64))
        case "twice":
            host.keytab.write_bytes(keytab.build([*good, *good]))
        case "stale":
            host.keytab.write_bytes(content.replace(good[0].key, os.urandom(len(good[0].key))))
        case "mode":
            host.keytab.chmod(0o644)
    assert host.mint(check=True)["changed"]
    assert host.mint()["changed"]
    assert keytab.same(keytab.parse(host.keytab.read_bytes()), good)
    assert stat.S_IMODE(host.keytab.stat().st_mode) == 0o600
    assert not host.mint()["changed"]


def test_a_user_never_has_a_password(host: Host) -> None:
    realm = host.make()["realm"]
    host.mint()
    conf = str(host.directory / "kdc.conf")
    environment = {**os.environ, "KRB5_CONFIG": conf, "KRB5_KDC_PROFILE": conf}
    for command in (("cpw", "-pw", "secret", "alice"), ("setstr", "alice", "pkinit_cert_match", "<SUBJECT>.*")):
        subprocess.run(["kadmin.local", "-r", realm, *command], env=environment, check=True, capture_output=True)
    assert host.mint()["changed_principals"] == ["alice"]
    (alice,) = (known for known in host.info()["principals"] if known["name"] == "alice")
    assert alice["kvnos"] == []
    assert alice["rule"] == r"<SUBJECT>^O=bob\.members\.example,CN=alice$<EKU>clientAuth"
    assert not host.mint()["changed"]


def test_what_is_not_listed(host: Host) -> None:
    host.make()
    host.mint(services=["host", "ipp"], users=["alice", "bob"])
    assert not host.mint(services=["host"], users=["bob"])["changed"]
    gone = host.mint(services=["host"], users=["bob"], exclusive=True)
    assert sorted(name.partition("/")[0] for name in gone["changed_principals"]) == ["alice", "ipp", "ipp"]
    assert {entry["principal"].partition("/")[0] for entry in host.info()["keytab"]} == {"host"}


def test_many_services(host: Host) -> None:
    """One command of kadmin.local's has 12 kB then."""
    host.make()
    name = ".".join("x" * 60 for _ in range(4))
    services = [f"svc{number}" for number in range(40)]
    assert len(host.mint(services=services, name=name)["changed_principals"]) == 40 * 2 + 1
    assert len({entry["principal"] for entry in host.info()["keytab"]}) == 80
    assert not host.mint(services=services, name=name)["changed"]


def test_a_fault_with_one_does_not_hold_up_the_others(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keytab has the keys that the KDC has, whatever else failed; and the next run goes on."""
    realm = host.make()["realm"]
    host.mint()
    tools = host.place / "tools"
    tools.mkdir()
    (tools / "kadmin.local").write_text(
        "#!/bin/sh\nsed -e 's/.*-randkey.* cifs.*/no_such_command/' -e 's, cifs/[^ ]*,,g' |\n"
        'exec /usr/sbin/kadmin.local "$@"\n'
    )
    (tools / "kadmin.local").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tools), prepend=os.pathsep)
        failed = host.mint(rotate=True)
    assert failed["failed"]
    assert failed["msg"].startswith(f"cifs/{realm}, cifs/{NAME} could not be changed or read: ")
    assert "no_such_command" in failed["msg"]
    newest: dict[str, int] = {}
    for entry in host.info()["keytab"]:
        newest[entry["principal"]] = max(entry["kvno"], newest.get(entry["principal"], 0))
    assert {name: kvno for name, kvno in newest.items() if kvno == 1} == {f"cifs/{realm}": 1, f"cifs/{NAME}": 1}
    assert len(newest) == 12
    assert not host.mint()["changed"]


def test_a_former_realm_leaves_the_keytab(host: Host) -> None:
    first = host.make()["realm"]
    host.keytab.write_bytes(FOREIGN)
    host.mint()
    assert host.make(state="absent")["changed"]
    second = host.make()["realm"]
    assert second != first
    assert host.mint(check=True)["changed"]
    assert host.mint()["keytab_changed"]
    assert {entry.realm for entry in keytab.parse(host.keytab.read_bytes())} == {second, "EXAMPLE"}
    assert not host.mint()["changed"]
    # In this order, too, nothing is left over.
    assert host.make(state="absent")["changed"]
    before = host.octets()
    assert host.mint(state="absent", check=True)["changed"]
    assert host.octets() == before
    assert host.mint(state="absent")["changed"]
    assert host.keytab.read_bytes() == FOREIGN
    assert not host.mint(state="absent")["changed"]


def test_absent(host: Host) -> None:
    host.make()
    host.mint()
    host.keytab.write_bytes(host.keytab.read_bytes() + FOREIGN[2:])
    assert host.mint(state="absent")["changed"]
    assert host.keytab.read_bytes() == FOREIGN
    assert host.info()["principals"] == []
    assert not host.mint(state="absent")["changed"]
    assert host.make(state="absent")["changed"]
    assert not host.directory.exists()
    assert not host.data.exists()
    assert not host.make(state="absent")["changed"]
    assert not host.mint(state="absent")["changed"]


@pytest.mark.parametrize("damage", ["stash", "anchor", "key", "database"])
def test_a_realm_that_cannot_be_read_can_be_removed(host: Host, damage: str) -> None:
    """As the error advises to; the keytab, which has others' keys as well, is rid of it all the same."""
    host.make(principals=host.asked())
    host.keytab.write_bytes(host.keytab.read_bytes() + FOREIGN[2:])
    match damage:
        case "stash":
            (host.data / "stash").unlink()
        case "anchor":
            (host.directory / "anchor.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        case "key":
            (host.directory / "key.pem").unlink()
        case "database":
            (host.data / "principal").write_bytes(b"junk")
    assert host.make(principals=host.asked())["failed"]
    for check in (True, False):
        gone = host.make(state="absent", principals=host.asked(), check=check)
        assert gone["changed"]
        assert gone["diff"][0]["before_header"] == str(host.keytab)
    assert host.keytab.read_bytes() == FOREIGN
    assert not host.directory.exists()
    assert not host.make(state="absent", principals=host.asked())["changed"]


def test_renewal_keeps_the_realm_and_the_database(host: Host) -> None:
    first = host.make()
    host.mint()
    database = (host.data / "principal").read_bytes()
    second = host.make(renew=True)
    assert second["serial"] != first["serial"]
    assert second["realm"] == first["realm"]
    assert (host.data / "principal").read_bytes() == database
    with host.serving(second["realm"]):
        assert host.client(second["realm"]).login("alice", host.identity()).returncode == 0


@pytest.mark.parametrize("name", ["anchor.pem", "key.pem", "kdc.pem", "ca.pem", "kdc.conf"])
def test_modes_are_mended(host: Host, name: str) -> None:
    host.make()
    path = host.directory / name
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o666)
    assert host.make(check=True)["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert host.make()["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert not host.make()["changed"]


def test_settings_change_without_a_new_realm(host: Host) -> None:
    first = host.make()
    changed = host.make(max_life="2h")
    assert (changed["changed"], changed["realm"], changed["serial"]) == (True, first["realm"], first["serial"])
    (diff,) = changed["diff"]
    assert diff["before"].replace("max_life = 10h", "max_life = 2h") == diff["after"]


def test_a_database_made_anew_is_noticed(host: Host) -> None:
    """Versions and encryption types are the same then; only the keys tell."""
    host.make()
    host.mint()
    for path in host.data.iterdir():
        path.unlink()
    assert host.make()["changed"]
    assert host.mint()["keytab_changed"]
    assert not host.mint()["changed"]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("etc/kdc/key.pem", "anchor.pem is there, but its key"),
        ("etc/kdc/anchor.pem", "which names its realm, is not there"),
        ("var/kdc/stash", "the key to it, "),
    ],
)
def test_a_lost_part_is_told(host: Host, lost: str, words: str) -> None:
    host.make()
    (host.place / lost).unlink()
    for check in (True, False):
        failed = host.make(check=check)
        assert failed["failed"]
        assert failed["msg"].startswith("imac: ")
        assert words in failed["msg"]
        assert "state: absent" in failed["msg"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"listen": ["nowhere"]}, "correct 'listen'"),
        ({"port": 65536}, "correct 'port'"),
        ({"max_life": "10 h\n x"}, "is no duration"),
        ({"max_renewable_life": "long"}, "is no duration"),
        ({"directory": "/etc/a:b"}, "plain characters"),
    ],
)
def test_wrong_options_of_a_realm(host: Host, options: dict[str, Any], words: str) -> None:
    failed = host.make(**options)
    assert failed["failed"]
    assert words in failed["msg"]
    assert not host.directory.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"users": ["al ice"]}, "'al ice' cannot be a user"),
        ({"users": ["a.b"]}, "'a.b' cannot be a user"),
        ({"services": ["host\naddprinc"]}, "is no name of a service"),
        ({"services": ["krbtgt"], "state": "absent"}, "is no name of a service"),
        ({"name": "imac.example\naddprinc x"}, "is no name in the DNS"),
        ({"zone": 'a".example'}, "is no name in the DNS"),
        ({"mode": "rw"}, "is not octal"),
    ],
)
def test_wrong_options_of_principals(host: Host, options: dict[str, Any], words: str) -> None:
    host.make()
    failed = host.mint(**options)
    assert failed["failed"]
    assert words in failed["msg"]


def test_a_database_without_its_stash_is_told(host: Host) -> None:
    host.make()
    (host.data / "stash").unlink()
    failed = host.mint()
    assert failed["failed"]
    assert "kadmin.local" in failed["msg"] or "kdb5_util" in failed["msg"]
