# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's lists as openssl shows them, and charon's certificates as swanctl does; the rest is in tests/e2e."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bundle, crl, x509
from cryptography import x509 as cx509

from tests.certificates import Owner
from watcher import charon, revoked
from watcher.errors import ListError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.certificates import Certificate

# swanctl 5.9.8 --list-certs --type x509, after a call of mini.
LISTED = """\

List of X.509 End Entity Certificates

  subject:  "CN=mini.bob.members.example"
  issuer:   "CN=bob.members.example owner CA"
  validity:  not before Nov 21 17:45:52 2026, ok
             not after  Dec 24 17:55:52 2027, ok (expires in 397 days)
  serial:    06:c6:72:1e:9b:a7:e2:98:c4:84:15:61:04:f9:81:09:fa:d0:8d:be
  altNames:  mini.bob.members.example, fd16:ecf2:2f15:0:531c:9245:be23:5234
  flags:     serverAuth clientAuth
  addresses: fd16:ecf2:2f15:0:531c:9245:be23:5234/128

  subject:  "CN=mini.bob.members.example"
  issuer:   "CN=bob.members.example owner CA"
  serial:    40:75
  altNames:  mini.bob.members.example

List of X.509 CA Certificates

  subject:  "CN=bob.members.example owner CA"
  issuer:   "CN=bob.members.example owner CA"
  serial:    44:77:71:fe:06:b3:13:07:f6:25:89:1a:ee:d6:3b:28:48:bf:9e:ac
  flags:     CA CRLSign self-signed
"""


def test_the_certificates_of_each_peer_are_found() -> None:
    found = revoked.peers(LISTED)
    assert found["mini.bob.members.example"] == {"6c6721e9ba7e298c484156104f98109fad08dbe", "4075"}
    assert set(found) == {"mini.bob.members.example", "fd16:ecf2:2f15:0:531c:9245:be23:5234"}


def test_serials_are_read_as_the_owner_wrote_them(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    holders = [owner.host("imac"), owner.host("mini", 2)]
    assert revoked.serials(shown(owner)) == set()
    for holder in holders:
        owner.revoke(holder)
    numbers = [cx509.load_pem_x509_certificate(holder.certificate.read_bytes()) for holder in holders]
    assert revoked.serials(shown(owner)) == {x509.serial(each) for each in numbers}


def shown(owner: Owner) -> str:
    return revoked._run("openssl", "crl", "-noout", "-text", "-in", str(owner.crl))


def number(path: Path, authority: Path) -> int:
    (found,) = revoked.genuine(path, authority).values()
    return found.number


def test_only_the_owners_lists_have_a_number(tmp_path: Path) -> None:
    owner, other = Owner(tmp_path), Owner(tmp_path, "eve.members.example")
    before = number(owner.crl, owner.ca)
    assert before == crl.number(
        crl.load(owner.crl.read_bytes(), cx509.load_pem_x509_certificate(owner.ca.read_bytes()))
    )
    owner.revoke(owner.host())
    assert number(owner.crl, owner.ca) > before
    assert not revoked.genuine(other.crl, owner.ca)
    assert not revoked.genuine(tmp_path / "nowhere", owner.ca)
    owner.crl.write_text("junk")
    assert not revoked.genuine(owner.crl, owner.ca)


def test_a_forged_list_has_none(tmp_path: Path) -> None:
    """Another CA of the same name, as whoever has the zone could make one."""
    owner = Owner(tmp_path)
    (tmp_path / "forger").mkdir()
    forger = Owner(tmp_path / "forger", owner.zone)
    forger.revoke(forger.host())
    assert number(forger.crl, forger.ca) > 0
    assert not revoked.genuine(forger.crl, owner.ca)


def test_of_two_cas_each_list_is_the_newest_of_its_own(tmp_path: Path) -> None:
    """In the order in which Ansible writes them; what is of neither CA is left out."""
    for name in ("former", "next", "other"):
        (tmp_path / name).mkdir()
    former, following, other = (
        Owner(tmp_path / "former"),
        Owner(tmp_path / "next", "zone.example"),
        Owner(tmp_path / "other", "eve"),
    )
    before = former.crl.read_text()
    former.revoke(former.host())
    lists = revoked.Lists(tmp_path / "crl.pem", tmp_path / "received.pem", (), tmp_path / "ca.pem", tmp_path / "judged")
    lists.authority.write_text(former.ca.read_text() + following.ca.read_text())
    lists.installed.write_text(before + following.crl.read_text())
    lists.received.write_text(other.crl.read_text() + former.crl.read_text())
    assert len(revoked._take_newer(lists)) == 1
    assert lists.installed.read_text() == former.crl.read_text() + following.crl.read_text()
    assert revoked._take_newer(lists) == []
    lists.installed.unlink()
    following.revoke(following.host())
    lists.received.write_text(following.crl.read_text() + before)
    assert len(revoked._take_newer(lists)) == 2
    assert lists.installed.read_text() == before + following.crl.read_text()


def test_what_cannot_be_run_is_one_sentence() -> None:
    with pytest.raises(ListError, match=r"no-such-command can't be run .*: run the role tunnel again"):
        revoked._run("no-such-command")
    with pytest.raises(ListError, match=r"openssl refuses .*see 'journalctl"):
        revoked._run("openssl", "crl", "-in", "/nowhere")


@dataclass
class Host:
    """A host with mini as a peer; openssl is real, swanctl and charon are stand-ins."""

    owner: Owner
    lists: revoked.Lists
    tunnels: dict[int, str]
    known: str = ""
    away: bool = False
    orders: list[str] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)  # happens while charon loads

    def take(self) -> list[str]:
        self.orders, self.closed = [], []
        return revoked.take(self.lists, self.owner.zone)

    def install(self) -> None:
        self.lists.installed.write_text(self.owner.crl.read_text())

    def receive(self) -> None:
        self.lists.received.write_text(self.owner.crl.read_text())

    def run(self, real: Callable[..., str], *command: str, given: str = "") -> str:
        if command[0] != "swanctl":
            return real(*command, given=given)
        self.orders.append(command[1])
        if command[1] == "--load-creds" and self.meanwhile:
            self.meanwhile.pop(0)()
        return self.known if command[1] == "--list-certs" else ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    owner = Owner(tmp_path)
    (tmp_path / "kdc").mkdir()
    copies = (tmp_path / "kdc" / "crl.pem", tmp_path / "no-such-reader" / "crl.pem")
    installed, received, judged = tmp_path / "crl.pem", tmp_path / "received.pem", tmp_path / "run" / "judged"
    host = Host(owner, revoked.Lists(installed, received, copies, owner.ca, judged), {1: f"mini.{owner.zone}"})
    host.install()
    monkeypatch.setattr(revoked, "_run", partial(host.run, revoked._run))
    monkeypatch.setattr(charon, "is_away", lambda: host.away)
    monkeypatch.setattr(charon, "session", lambda: contextlib.nullcontext())
    monkeypatch.setattr(charon, "identities", lambda _, end: [t for t in host.tunnels.items() if t[1].endswith(end)])
    monkeypatch.setattr(charon, "forget", lambda _, number: host.closed.append(number))
    return host


def listed(holder: Certificate) -> str:
    """Return what swanctl shows of a peer's certificate."""
    certificate = cx509.load_pem_x509_certificate(holder.certificate.read_bytes())
    name = certificate.subject.rfc4514_string().partition("=")[2].partition(",")[0]
    return f'  subject:  "CN={name}"\n  serial:    {certificate.serial_number:x}\n  altNames:  {name}\n'


def test_a_list_is_taken_up_by_all_who_judge(host: Host) -> None:
    """Received, installed, charon's second file, the KDC's; not where there is no reader."""
    mini = host.owner.host("mini")
    host.known = listed(mini)
    host.take()
    assert host.orders == ["--list-certs", "--load-creds", "--flush-certs"]
    host.owner.revoke(mini)
    host.receive()
    told = host.take()
    assert any(line.startswith("took list ") for line in told)
    assert any("its certificate was revoked" in line for line in told)
    assert host.closed == [1]
    text = host.owner.crl.read_text()
    for path in (host.lists.installed, bundle.second_path(host.lists.installed), host.lists.copies[0]):
        assert path.read_text() == text
    assert not host.lists.copies[1].parent.exists()


def test_who_cannot_be_judged_is_closed_only_by_news(host: Host) -> None:
    """Another's tunnel, and what is of another zone, is left alone."""
    host.owner.revoke(host.owner.host("macbook", 3))
    host.install()
    host.known = listed(host.owner.host("imac", 2))
    host.tunnels |= {2: f"imac.{host.owner.zone}", 3: "mini.eve.members.example"}
    assert any("has to show it again" in line for line in host.take())
    assert host.closed == [1]
    host.take()
    assert host.closed == []
    host.owner.revoke(host.owner.host("macbook", 3))
    host.install()
    host.take()
    assert host.closed == [1]


def test_who_was_enrolled_anew_is_closed_only_by_news(host: Host) -> None:
    """charon knows the revoked certificate while its thief calls, and does not tell which of the two made a tunnel."""
    stolen = host.owner.host("mini")
    host.owner.revoke(stolen)
    host.install()
    former = listed(stolen)
    host.known = former + listed(host.owner.host("mini"))
    host.take()
    assert host.closed == [1]
    host.take()
    assert host.closed == []
    host.known = former
    host.take()
    assert host.closed == [1]


def test_what_comes_meanwhile_is_taken_up_too(host: Host) -> None:
    """systemd starts nothing for it: by Ansible, then by the zone."""
    mini = host.owner.host("mini")
    host.known = listed(mini)

    def revoke_by_ansible() -> None:
        host.owner.revoke(host.owner.host("macbook", 3))
        host.install()

    def revoke_by_the_zone() -> None:
        host.owner.revoke(mini)
        host.receive()

    host.meanwhile = [revoke_by_ansible, revoke_by_the_zone]
    host.take()
    assert host.orders.count("--load-creds") == 3
    assert host.closed == [1]
    assert host.lists.copies[0].read_text() == host.lists.installed.read_text() == host.owner.crl.read_text()


def test_without_charon_it_is_put_where_charon_looks(host: Host) -> None:
    host.away = True
    host.owner.revoke(host.owner.host("mini"))
    host.receive()
    assert host.take()[-1] == "charon is away, so it finds the list at its start"
    assert host.orders == []
    assert bundle.second_path(host.lists.installed).read_text() == host.owner.crl.read_text()
    assert host.lists.copies[0].read_text() == host.owner.crl.read_text()


def test_without_any_list_it_says_so(host: Host) -> None:
    host.lists.installed.unlink()
    with pytest.raises(ListError, match=r"there is no list at .*: run the role identity"):
        host.take()


def test_charon_is_away_when_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vici"
    monkeypatch.setattr(charon, "SOCKET", str(path))
    assert charon.is_away()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert not charon.is_away()
    assert charon.is_away()  # it was killed
