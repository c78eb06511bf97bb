# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's CA is believed, and none that the system has: whoever has a certificate of such a one is a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import x509
from cryptography import x509 as cx509

from tests.certificates import Certificate, Owner
from watcher import revoked
from watcher.checks import Patient, tunnel
from watcher.places import of_zone
from watcher.realm_check import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.config import Config

ZONE = "bob.members.example"
REALM = f"LKDC:SHA1.{'1' * 40}"


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path, ZONE)


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """A CA that may name hosts in the owner's zone, too, and is one of the system's."""
    for name in ("stranger", "system"):
        (tmp_path / name).mkdir()
    found = Owner(tmp_path / "stranger", "members.example")
    hashed = revoked._run("openssl", "x509", "-noout", "-hash", "-in", str(found.ca)).strip()
    (tmp_path / "system" / f"{hashed}.0").write_bytes(found.ca.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "system"))
    return found


def der(certificate: Certificate) -> bytes:
    return x509.to_der(cx509.load_pem_x509_certificate(certificate.certificate.read_bytes()))


def test_its_realm_is_refused(owner: Owner, stranger: Owner, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    assert refusal(der(owner.kdc("imac", REALM)), f"imac.{ZONE}", REALM, str(owner.ca), nowhere) is None
    reason = refusal(der(stranger.kdc("imac.bob", REALM)), f"imac.{ZONE}", REALM, str(owner.ca), nowhere)
    assert reason is not None
    assert "unable to get local issuer certificate" in reason


def test_its_list_is_not_taken(owner: Owner, stranger: Owner) -> None:
    assert revoked.genuine(owner.crl, owner.ca)
    assert not revoked.genuine(stranger.crl, owner.ca)


def test_its_certificate_is_not_in_order(
    owner: Owner, stranger: Owner, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "REVOKED_ROOT", tmp_path / "lists")
    (tmp_path / "lists").mkdir()
    config.ca.write_bytes(owner.ca.read_bytes())
    for issuer, is_right in ((owner, True), (stranger, False)):
        (tmp_path / "lists" / config.ca.name).write_bytes(issuer.crl.read_bytes())
        config.certificate.write_bytes(issuer.host("imac").certificate.read_bytes())
        assert tunnel._revocation(Patient(ZONE, of_zone(ZONE), config, {})).ok is is_right
