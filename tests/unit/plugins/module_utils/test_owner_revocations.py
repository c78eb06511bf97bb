# SPDX-License-Identifier: GPL-3.0-or-later
"""What an owner revoked, and the list that says so, judged by the host's openssl."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import crl, owner_revocations, x509
from ansible_collections.btmm.fleet.plugins.module_utils.crl import Revoked
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.module_utils.owner_revocations import of_enrolment, of_serial
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

ZONE = "bob.members.example"
PASSPHRASE = "correct horse"


def open_store(place: Path, *, planning: bool = False) -> OwnerStore:
    return OwnerStore(place / "owner", ZONE, PASSPHRASE, planning=planning)


@pytest.fixture
def store(tmp_path: Path) -> OwnerStore:
    made = open_store(tmp_path)
    made.init()
    return made


def request() -> str:
    builder = cx509.CertificateSigningRequestBuilder(cx509.Name([]))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def sign(store: OwnerStore, label: str, pem: str | None = None) -> str:
    profile = x509.Profile(f"{label}.{ZONE}", ula=store.prefix.network_address)
    return store.sign(pem or request(), profile, label=label, host=label).certificate


def revoke(store: OwnerStore, label: str, reason: str = "key_compromise") -> list[Revoked]:
    record = store.enrolment(label)
    assert record is not None
    return store.revocations.add(of_enrolment(record, reason))


def verify(place: Path, store: OwnerStore, certificate: str) -> str:
    """Ask openssl, as KDC and relay do, with the list that is in force."""
    for name, text in {"ca": store.ca_certificate_pem, "crl": store.revocations.pem(), "cert": certificate}.items():
        (place / f"{name}.pem").write_text(text)
    files = ["-CAfile", str(place / "ca.pem"), "-CRLfile", str(place / "crl.pem"), str(place / "cert.pem")]
    done = subprocess.run(["openssl", "verify", "-x509_strict", "-crl_check", *files], capture_output=True, text=True,
                          check=False)  # fmt: skip
    return "OK" if done.returncode == 0 else done.stderr


def number(pem: str) -> int:
    found = re.match(r"number: (\d+)\n", crl.describe(pem))
    assert found
    return int(found[1])


def test_openssl_refuses_the_revoked_one_only(store: OwnerStore, tmp_path: Path) -> None:
    imac, mini = sign(store, "imac"), sign(store, "mini")
    assert verify(tmp_path, store, imac) == verify(tmp_path, store, mini) == "OK"
    assert [each.label for each in revoke(store, "imac")] == ["imac"]
    assert "certificate revoked" in verify(tmp_path, store, imac)
    assert verify(tmp_path, store, mini) == "OK"
    listed = crl.load(store.revocations.pem().encode(), store.ca)
    (entry,) = listed
    assert entry.extensions.get_extension_for_class(cx509.CRLReason).value.reason is cx509.ReasonFlags.key_compromise


def test_without_a_list_openssl_lets_nobody_in(store: OwnerStore, tmp_path: Path) -> None:
    """What every server of ours does when the list is lost; charon does the same (`revocation = strict`)."""
    imac = sign(store, "imac")
    assert verify(tmp_path, store, imac) == "OK"
    files = ["-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "cert.pem")]
    done = subprocess.run(["openssl", "verify", "-crl_check", *files], capture_output=True, text=True, check=False)
    assert "unable to get certificate CRL" in done.stderr


def test_numbers_grow_also_when_the_list_was_lost(store: OwnerStore, tmp_path: Path) -> None:
    sign(store, "imac")
    sign(store, "mini")
    first = number(store.revocations.pem())
    assert open_store(tmp_path).revocations.pem() == store.revocations.pem()
    revoke(store, "imac")
    second = number(store.revocations.pem())
    assert second > first
    assert revoke(store, "imac") == []
    assert number(store.revocations.pem()) == second
    (store.directory / "crl.pem").unlink()
    later_on = mock.Mock(now=lambda _: datetime.now(UTC) + timedelta(minutes=1), fromisoformat=datetime.fromisoformat)
    with mock.patch.object(owner_revocations, "datetime", later_on):
        assert number(store.revocations.pem()) > second
    assert "revoked: " in crl.describe(store.revocations.pem())
    revoke(store, "mini")
    assert number(store.revocations.pem()) > second


def test_a_list_that_a_crash_left_behind_its_records_is_mended(store: OwnerStore) -> None:
    sign(store, "imac")
    before = store.revocations.pem()
    revoke(store, "imac")
    (store.directory / "crl.pem").write_text(before)
    assert revoke(store, "imac") == []
    assert "revoked: " in crl.describe(store.revocations.pem())


def test_former_certificates_are_revoked_too(store: OwnerStore, tmp_path: Path) -> None:
    pem = request()
    issued = [sign(store, "imac", pem), sign(store, "imac", pem), sign(store, "imac")]
    assert len(revoke(store, "imac")) == 3
    assert all("certificate revoked" in verify(tmp_path, store, each) for each in issued)


def test_what_ended_is_remembered_no_longer(store: OwnerStore) -> None:
    sign(store, "imac")
    path = store.directory / "hosts" / "imac.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "not_after": (datetime.now(UTC) - timedelta(days=1)).isoformat()}))
    sign(store, "imac")
    found = store.enrolment("imac")
    assert found is not None
    assert found.former == ()


def test_entries_go_a_month_after_the_certificates_end(store: OwnerStore) -> None:
    now = datetime.now(UTC)
    entry = Revoked("ab", "imac", "host", "k", "superseded", now.isoformat(), (now + timedelta(days=9)).isoformat())
    store.revocations.add([entry, replace(entry, serial="cd", not_after=(now - timedelta(days=31)).isoformat())])
    assert [each.serial for each in store.revocations.all()] == ["ab"]
    assert crl.describe(store.revocations.pem()).splitlines()[1:] == ["revoked: ab"]


def test_a_key_that_others_may_have_never_comes_back(store: OwnerStore) -> None:
    pem = request()
    sign(store, "imac", pem)
    revoke(store, "imac", "superseded")
    sign(store, "imac", pem)
    revoke(store, "imac", "key_compromise")
    with pytest.raises(OwnerError, match=r"private key of 'imac' was revoked on .*run unenrol.yml"):
        sign(store, "imac", pem)
    with pytest.raises(OwnerError, match="was revoked on"):
        sign(store, "mini", pem)
    sign(store, "imac")


def test_who_is_forgotten_is_revoked(store: OwnerStore, tmp_path: Path) -> None:
    pem = request()
    imac = sign(store, "imac", pem)
    assert open_store(tmp_path, planning=True).forget("imac")
    assert verify(tmp_path, store, imac) == "OK"
    assert store.forget("imac")
    assert "certificate revoked" in verify(tmp_path, store, imac)
    assert verify(tmp_path, store, sign(store, "imac", pem)) == "OK"


def test_a_serial_is_found_in_any_spelling(store: OwnerStore) -> None:
    record = x509.summary(sign(store, "imac"))
    colons = ":".join(re.findall("..", record["serial"].upper().zfill(40)))
    found = of_serial(colons, store.enrolments(), "superseded", store.ca.not_valid_after_utc)
    assert (found.serial, found.label, found.not_after) == (record["serial"], "imac", record["not_after"])
    unknown = of_serial("2a", store.enrolments(), "superseded", store.ca.not_valid_after_utc)
    assert (unknown.serial, unknown.label) == ("2a", "")
    with pytest.raises(OwnerError, match="'imac' is no serial number"):
        of_serial("imac", [], "superseded", store.ca.not_valid_after_utc)


def test_planning_signs_a_list_and_keeps_none(store: OwnerStore, tmp_path: Path) -> None:
    sign(store, "imac")
    before = {path: path.read_bytes() for path in store.directory.rglob("*") if path.is_file()}
    plan = open_store(tmp_path, planning=True)
    fresh = revoke(plan, "imac")
    assert f"revoked: {fresh[0].serial}" in crl.describe(plan.revocations.pem(planned=fresh))
    assert {path: path.read_bytes() for path in store.directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "content",
    ["nonsense", "{}", "[1]", "[{}]", '[{"serial": 1}]', "null"],
)
def test_damaged_records_are_told(store: OwnerStore, content: str) -> None:
    sign(store, "imac")
    (store.directory / "revoked.json").write_text(content)
    with pytest.raises(OwnerError, match=r"revoked\.json is damaged .*restore it"):
        revoke(store, "imac")


def test_another_owners_list_is_told(store: OwnerStore, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other")
    other.init()
    (store.directory / "crl.pem").write_text(other.revocations.pem())
    with pytest.raises(OwnerError, match="not signed by the owner CA"):
        store.revocations.pem()
