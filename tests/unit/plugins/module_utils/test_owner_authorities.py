# SPDX-License-Identifier: GPL-3.0-or-later
"""One CA takes the place of another: each step is taken once, late comers count, and a crash is mended."""

from __future__ import annotations

import base64
import contextlib
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bundle, x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.module_utils.owner_revocations import of_enrolment
from ansible_collections.btmm.fleet.plugins.module_utils.registry import Registry
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Callable

ZONE = "bob.members.example"
REALM = f"LKDC:SHA1.{'0' * 40}"


class Owner:
    """An owner with imac (and its KDC) and mini enrolled; `store` is opened anew each time, as by each task."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store().init()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.issued = {label: self.sign(label) for label in ("imac", "mini")}
        self.sign("imac", realm=REALM)

    def store(self, *, planning: bool = False) -> OwnerStore:
        return OwnerStore(self.place / "owner", ZONE, "correct horse", planning=planning)

    def sign(self, label: str, realm: str | None = None) -> str:
        """Issue a certificate, as a run of the role does: it is noted that the machine has the anchors."""
        store = self.store()
        request = cx509.CertificateSigningRequestBuilder(cx509.Name([])).sign(
            ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
        )
        profile = x509.Profile(f"{label}.{ZONE}", ula=None if realm else store.prefix.network_address, realm=realm)
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        issued = store.sign(pem, profile, label=label, host=label)
        store.authorities.note_holder(label, profile.role)
        return issued.certificate

    def begin(self) -> bool:
        store = self.store()
        return store.authorities.begin(store.zone, store.prefix)

    def verify(self, certificate: str) -> str:
        """Ask openssl, with what hosts are given."""
        store = self.store()
        for name, text in {"ca": store.ca_certificate_pem, "crl": store.revocations.pem(), "cert": certificate}.items():
            (self.place / f"{name}.pem").write_text(text)
        files = ["-CAfile", self.place / "ca.pem", "-CRLfile", self.place / "crl.pem", self.place / "cert.pem"]
        command = ["openssl", "verify", "-x509_strict", "-crl_check", *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "OK" if done.returncode == 0 else done.stderr


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


def test_the_next_one_is_made_once_and_can_do_no_more(owner: Owner) -> None:
    before = owner.store().ca
    assert owner.begin()
    assert not owner.begin()
    store = owner.store()
    former, following = (each.certificate for each in store.authorities.anchors)
    assert (former, store.ca) == (before, before)
    assert following.subject.rfc4514_string() == f"CN={ZONE} owner CA 2"
    for kind in (cx509.NameConstraints, cx509.BasicConstraints, cx509.KeyUsage):
        assert following.extensions.get_extension_for_class(kind) == former.extensions.get_extension_for_class(kind)
    for name in ("next-ca.key", "rollover.json"):
        assert stat.S_IMODE((store.directory / name).stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (store.directory / "next-ca.key").read_bytes()
    assert bundle.split(store.ca_certificate_pem) == [x509.to_pem(former), x509.to_pem(following)]


def test_it_signs_once_everybody_has_it(owner: Owner) -> None:
    owner.begin()
    assert owner.store().authorities.lacking() == ["imac", "imac (kdc)", "mini"]
    owner.sign("imac")
    owner.sign("imac", realm=REALM)
    assert owner.store().authorities.lacking() == ["mini"]
    assert not owner.store().authorities.issue()
    owner.store().authorities.note_holder("mini", "host")
    assert owner.store().authorities.issue()
    assert not owner.store().authorities.issue()
    store = owner.store()
    assert store.ca == store.authorities.anchors[1].certificate
    assert store.authorities.outdated() == ["imac", "imac (kdc)", "mini"]
    key = x509.spki(cx509.load_pem_x509_certificate(owner.issued["mini"].encode()))
    profile = x509.Profile(f"mini.{ZONE}", ula=store.address(key))
    for authority, serves in zip(store.authorities.anchors, (True, False), strict=True):
        reason = x509.reason_to_issue(owner.issued["mini"], key, profile, authority.certificate)
        assert (reason is None) == serves
    renewed = owner.sign("imac")
    assert owner.verify(renewed) == owner.verify(owner.issued["mini"]) == "OK"


def test_who_was_revoked_is_revoked_under_both(owner: Owner) -> None:
    owner.begin()
    owner.store().authorities.issue(force=True)
    renewed = owner.sign("mini")
    record = owner.store().enrolment("mini")
    assert record is not None
    owner.store().revocations.add(of_enrolment(record, "superseded"))
    for certificate in (renewed, owner.issued["mini"]):
        assert "certificate revoked" in owner.verify(certificate)
    assert owner.verify(owner.issued["imac"]) == "OK"
    assert len(bundle.split(owner.store().revocations.pem())) == 2


def test_a_beginning_can_be_taken_back(owner: Owner) -> None:
    """As long as the next CA signed nothing."""
    assert not owner.store().authorities.abandon()
    before = {path.name for path in owner.store().directory.iterdir()}
    owner.begin()
    owner.store().revocations.pem()
    assert owner.store(planning=True).authorities.abandon()
    assert owner.store().authorities.stage
    store = owner.store()
    assert store.authorities.abandon()
    assert store.authorities.stage is None
    assert {path.name for path in store.directory.iterdir()} - before == {"crl.pem", "revoked.json", ".lock"} - before
    assert len(bundle.split(store.ca_certificate_pem)) == 1
    owner.begin()
    owner.store().authorities.issue(force=True)
    with pytest.raises(OwnerError, match=r"signs already.*; go on with rollover\.yml"):
        owner.store().authorities.abandon()


def test_what_counts_no_more_holds_nobody_up(owner: Owner) -> None:
    """A KDC that was revoked by its serial number, a host that was away until its certificate ended."""
    owner.begin()
    kdc = owner.store().enrolment("imac", "kdc")
    assert kdc is not None
    owner.store().revocations.add(of_enrolment(kdc, "superseded"))
    assert owner.store().authorities.lacking() == ["imac", "mini"]
    owner.sign("imac")
    assert not owner.store().authorities.issue()
    mini = owner.store().enrolment("mini")
    assert mini is not None
    ended = replace(mini, not_after=datetime.now(UTC).isoformat())
    Registry(owner.store().directory / "hosts").put(ended)
    assert owner.store().authorities.lacking() == []
    assert owner.store().authorities.issue()
    assert owner.store().authorities.outdated() == ["imac"]
    owner.sign("imac")
    assert owner.store().authorities.retire()


def test_who_was_revoked_on_the_way_stays_so(owner: Owner) -> None:
    """Under both CAs while there are two, under the one that is left at last."""
    revoked = []
    steps: tuple[Callable[[], bool], ...] = (
        owner.begin,
        lambda: owner.store().authorities.issue(force=True),
        lambda: True,
    )
    for step, label in zip(steps, ("macbook", "mini", "imac"), strict=True):
        assert step()
        revoked.append(owner.sign(label))
        record = owner.store().enrolment(label)
        assert record is not None
        owner.store().revocations.add(of_enrolment(record, "key_compromise"))
        for certificate in revoked:
            assert "certificate revoked" in owner.verify(certificate)
    numbers = {int(cx509.load_pem_x509_certificate(each.encode()).serial_number) for each in revoked}

    def listed() -> list[set[int]]:
        lists = bundle.split(owner.store().revocations.pem())
        return [{entry.serial_number for entry in cx509.load_pem_x509_crl(each.encode())} for each in lists]

    former, following = listed()
    assert numbers <= former == following
    assert owner.store().authorities.retire(force=True)
    assert listed() == [following]


def test_the_former_one_is_kept_while_it_is_used(owner: Owner) -> None:
    assert not owner.store().authorities.retire()
    owner.begin()
    with pytest.raises(OwnerError, match=r"does not sign yet, and these lack it: imac, imac \(kdc\), mini"):
        owner.store().authorities.retire()
    owner.store().authorities.issue(force=True)
    imac = owner.sign("imac")
    owner.sign("imac", realm=REALM)
    with pytest.raises(OwnerError, match=r"in use by mini; run rollover\.yml for these hosts, login"):
        owner.store().authorities.retire()
    mini = owner.sign("mini")
    owner.store().revocations.pem()
    assert owner.store(planning=True).authorities.retire()
    assert owner.store().authorities.stage
    assert owner.store().authorities.retire()
    assert not owner.store().authorities.retire()
    store = owner.store()
    assert {path.name for path in store.directory.iterdir() if path.is_file()} == {
        "ca.crt", "ca.key", "crl.pem", "zone.json", "zone.secret", "revoked.json", ".lock",
    }  # fmt: skip
    assert owner.verify(imac) == owner.verify(mini) == "OK"
    assert "unable to get local issuer" in owner.verify(owner.issued["mini"])
    assert owner.begin()
    assert owner.store().authorities.anchors[1].certificate.subject.rfc4514_string() == f"CN={ZONE} owner CA 3"


@pytest.mark.parametrize("renamed", range(3))
def test_a_retirement_that_is_cut_short_is_ended_by_whoever_comes_next(owner: Owner, renamed: int) -> None:
    owner.begin()
    owner.store().authorities.issue(force=True)
    mini = owner.sign("mini")
    owner.store().revocations.pem()
    following = owner.store().ca
    left = [*[None] * renamed, OSError("no power")]
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if path.name.startswith("next-") and (fault := left.pop(0)):
            raise fault
        return real(path, target)

    with mock.patch.object(Path, "replace", replace), contextlib.suppress(OwnerError):
        owner.store().authorities.retire(force=True)
    assert owner.store().ca == following
    assert owner.store().authorities.stage is None
    assert owner.verify(mini) == "OK"
    assert owner.sign("imac")


def test_planning_writes_nothing(owner: Owner) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in owner.place.rglob("*") if path.is_file()}

    owner.store().revocations.pem()
    before = contents()
    store = owner.store(planning=True)
    assert store.authorities.begin(store.zone, store.prefix)
    assert contents() == before
    owner.begin()
    before = contents()
    store = owner.store(planning=True)
    store.authorities.note_holder("mini", "host")
    assert store.authorities.issue(force=True)
    assert len(bundle.split(store.revocations.pem())) == 2
    assert contents() == before


def test_a_backup_has_both(owner: Owner, tmp_path: Path) -> None:
    owner.begin()
    owner.store().authorities.issue(force=True)
    owner.store().revocations.pem()
    files = owner.store().export()
    assert base64.b64decode(files["next-ca.crt"]) == (owner.store().directory / "next-ca.crt").read_bytes()
    other = OwnerStore(tmp_path / "other", ZONE, "correct horse")
    assert other.restore(files)
    assert other.ca == owner.store().ca
    assert other.revocations.pem() == owner.store().revocations.pem()


def test_a_backup_from_before_is_the_same_owners(owner: Owner) -> None:
    """What came since then stays: the CA, too."""
    files = owner.store().export()
    owner.begin()
    owner.store().authorities.issue(force=True)
    owner.store().authorities.retire(force=True)
    after = owner.store().ca
    assert not owner.store().restore(files)
    assert owner.store().ca == after


def test_a_damaged_stage_is_told(owner: Owner) -> None:
    owner.begin()
    for text in ("junk", "[]", '{"name": "halfway", "holders": []}'):
        (owner.store().directory / "rollover.json").write_text(text)
        with pytest.raises(OwnerError, match=r"rollover\.json is damaged .*restore it from a backup"):
            _ = owner.store().ca
