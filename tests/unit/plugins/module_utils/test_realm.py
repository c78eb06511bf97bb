# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells of its realm, and the folder that it reads it from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import krb5_principal, x509
from ansible_collections.btmm.fleet.plugins.module_utils.realm import read_realm
from cryptography import x509 as cx509
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates import Certificate, Owner

if TYPE_CHECKING:
    from pathlib import Path

REALM = "LKDC:SHA1.38CBF9F6F585901BB985CD43BEEFCD64B5FB35D6"


def der(certificate: Certificate) -> bytes:
    return x509.to_der(cx509.load_pem_x509_certificate(certificate.certificate.read_bytes()))


def test_a_folder_becomes_the_two_records(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    anchor, kdc = owner.kdc("imac", REALM), owner.kdc("mini", REALM)
    (tmp_path / "anchor.pem").write_bytes(anchor.certificate.read_bytes())
    assert read_realm(tmp_path) is None, "without the certificate there is nothing to tell"
    (tmp_path / "kdc.pem").write_bytes(kdc.certificate.read_bytes())
    realm = read_realm(tmp_path)
    assert realm is not None
    assert realm.name == "LKDC:SHA1." + hashlib.sha1(der(anchor), usedforsecurity=False).hexdigest().upper()
    text, certificate = realm.rdatas()
    assert text.to_text() == f'"{realm.name}"'
    assert certificate.to_text().startswith("PKIX 0 0 MII")
    wire = certificate.to_wire()
    assert wire is not None
    assert wire[5:] == der(kdc)  # type, key tag, algorithm: RFC 4398 section 2


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    for name in ("anchor.pem", "kdc.pem"):
        (tmp_path / name).write_text("nothing\n")
    with pytest.raises(ValueError, match="PEM"):
        read_realm(tmp_path)


def test_principals_of_certificates(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    assert krb5_principal.principals(der(owner.kdc("imac", REALM))) == [f"krbtgt/{REALM}@{REALM}"]
    assert krb5_principal.principals(der(owner.host("imac"))) == []


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_principals_of_anything(octets: bytes) -> None:
    assert krb5_principal.principals(octets) == []


def test_principals_of_a_damaged_certificate(tmp_path: Path) -> None:
    whole = der(Owner(tmp_path).kdc("imac", REALM))
    for spot in range(0, len(whole), 7):
        found = krb5_principal.principals(whole[:spot] + bytes([whole[spot] ^ 0x55]) + whole[spot + 1 :])
        assert all(isinstance(name, str) for name in found)
        assert krb5_principal.principals(whole[:spot]) == []
