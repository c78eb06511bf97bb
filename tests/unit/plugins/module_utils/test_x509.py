# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, judged by the host's openssl and by a real TLS handshake of Python's ssl."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, NamedTuple

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import ula, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

ZONE = "bob.members.example"
PREFIX = IPv6Network("fd46:9f2e:12f9::/48")
REALM = "LKDC:SHA1.38CBF9F6F585901BB985CD43BEEFCD64B5FB35D6"
CA, CA_KEY = x509.make_ca(ZONE, PREFIX)
CA_PEM = x509.to_pem(CA)


def request_for(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "evil.example") -> str:
    subject = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = cx509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


class Peer(NamedTuple):
    """A host with a certificate."""

    request: cx509.CertificateSigningRequest
    profile: x509.Profile
    pem: str
    key: ec.EllipticCurvePrivateKey

    def files(self, place: Path) -> tuple[Path, Path]:
        certificate, key = place / "cert.pem", place / "key.pem"
        certificate.write_text(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key


def enrol(name: str = f"imac.{ZONE}", *, server: bool = False, address: str = "", now: datetime | None = None) -> Peer:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.load_request(request_for(key))
    own = ip_address(address) if address else ula.host_address(PREFIX, x509.spki(request))
    assert isinstance(own, IPv6Address)
    extra = (ip_address("203.0.113.10"),)
    profile = x509.Profile(name, addresses=extra) if server else x509.Profile(name, ula=own)
    return Peer(request, profile, x509.to_pem(x509.issue(request, profile, CA, CA_KEY, now)), key)


IMAC = enrol()


def verify(place: Path, pem: str, *options: str) -> str:
    (place / "ca.pem").write_text(CA_PEM)
    (place / "cert.pem").write_text(pem)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", *options, "-CAfile", place / "ca.pem", place / "cert.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "OK" if done.returncode == 0 else done.stderr


def test_openssl_takes_host_and_server(tmp_path: Path) -> None:
    assert verify(tmp_path, IMAC.pem, "-verify_hostname", f"imac.{ZONE}", "-purpose", "sslserver") == "OK"
    assert verify(tmp_path, IMAC.pem, "-purpose", "sslclient") == "OK"
    server = enrol(f"zone.{ZONE}", server=True)
    assert verify(tmp_path, server.pem, "-verify_ip", "203.0.113.10", "-purpose", "sslserver") == "OK"


def test_the_ca_can_name_only_its_zone_and_grant_only_its_prefix(tmp_path: Path) -> None:
    assert "permitted subtree violation" in verify(tmp_path, enrol("bank.example").pem)
    assert "RFC 3779" in verify(tmp_path, enrol(address="fd00::1").pem)


def test_a_certificate_is_good_for_its_purpose_only(tmp_path: Path) -> None:
    server = enrol(f"zone.{ZONE}", server=True).pem
    key = ec.generate_private_key(ec.SECP256R1())
    profile = x509.Profile(f"imac.{ZONE}", realm=REALM)
    kdc = x509.to_pem(x509.issue(x509.load_request(request_for(key)), profile, CA, CA_KEY))
    for pem in (server, kdc):
        assert verify(tmp_path, pem, "-purpose", "sslserver") == "OK"
        assert "unsuitable certificate purpose" in verify(tmp_path, pem, "-purpose", "sslclient")
    # What charon and KDCs look for, and no certificate has both: 1.3.6.1.5.5.7.3.17 is IKE, 1.3.6.1.5.2.3.5 a KDC.
    assert uses(IMAC.pem, kdc) == ["ipsec Internet Key Exchange", "Signing KDC Response"]


def uses(*pems: str) -> list[str]:
    """Return the last purpose of each certificate, as openssl calls it."""
    command = ["openssl", "x509", "-noout", "-ext", "extendedKeyUsage"]
    shown = [subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout for pem in pems]
    return [text.strip().rpartition(", ")[2] for text in shown]


@pytest.mark.parametrize(
    ("signer", "why"),
    [("host", "invalid CA certificate"), ("authority", "path length constraint exceeded")],
)
def test_nobody_but_the_owner_signs(tmp_path: Path, signer: str, why: str) -> None:
    """Neither a host with its own certificate, nor another CA that the owner was led to make."""
    key, ends = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) + timedelta(days=1)
    identifier = cx509.SubjectKeyIdentifier.from_public_key

    def signed(name: str, by: ec.EllipticCurvePrivateKey, issuer: cx509.Certificate, *, ca: bool) -> cx509.Certificate:
        return (
            cx509.CertificateBuilder()
            .subject_name(cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(ends)
            .add_extension(cx509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509._key_usage(ca=ca), critical=True)
            .add_extension(cx509.SubjectAlternativeName([cx509.DNSName(f"forged.{ZONE}")]), critical=False)
            .add_extension(identifier(key.public_key()), critical=False)
            .add_extension(x509.authority_identifier(issuer), critical=False)
            .sign(by, hashes.SHA256())
        )

    middle, own = cx509.load_pem_x509_certificate(IMAC.pem.encode()), IMAC.key
    if signer == "authority":
        middle, own = signed("another CA", CA_KEY, CA, ca=True), key
    (tmp_path / "middle.pem").write_text(x509.to_pem(middle))
    forged = x509.to_pem(signed("forged", own, middle, ca=False))
    assert why in verify(tmp_path, forged, "-untrusted", str(tmp_path / "middle.pem"))


def test_fields() -> None:
    certificate = cx509.load_pem_x509_certificate(IMAC.pem.encode())
    names = certificate.extensions.get_extension_for_class(cx509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [f"imac.{ZONE}", str(IMAC.profile.ula)]
    # Names come from the inventory: the request said evil.example.
    assert "evil" not in x509.describe(IMAC.pem)
    assert f"address block: {IMAC.profile.ula}/128" in x509.describe(IMAC.pem)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=398) + x509.BACKDATED
    summary = x509.summary(IMAC.pem)
    assert summary["fingerprint"] == x509.fingerprint(certificate)
    done = subprocess.run(
        ["openssl", "x509", "-serial", "-noout"], input=IMAC.pem, capture_output=True, text=True, check=True
    )
    assert int(done.stdout.partition("=")[2], 16) == int(summary["serial"], 16)


def test_a_kdc_is_what_rfc_4556_wants(tmp_path: Path) -> None:
    """Section 3.2.4; openssl knows the purpose by name, and shows the SAN's octets."""
    key = ec.generate_private_key(ec.SECP256R1())
    profile = x509.Profile(f"imac.{ZONE}", realm=REALM)
    pem = x509.to_pem(x509.issue(x509.load_request(request_for(key)), profile, CA, CA_KEY))
    assert verify(tmp_path, pem, "-verify_hostname", f"imac.{ZONE}") == "OK"
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "extendedKeyUsage,keyUsage"], input=pem, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "TLS Web Server Authentication, Signing KDC Response" in done.stdout
    assert "Digital Signature" in done.stdout
    assert x509.describe(pem).splitlines()[1] == f"names: imac.{ZONE}, krbtgt/{REALM}@{REALM}"
    assert x509.reason_to_issue(pem, x509.spki(x509.load_request(request_for(key))), profile, CA) is None
    other = x509.Profile(f"imac.{ZONE}", realm=REALM[:-1] + "0")
    assert x509.reason_to_issue(pem, x509.spki(x509.load_request(request_for(key))), other, CA) == "its names changed"
    assert profile.role == "kdc"


def test_only_a_key_signs_itself() -> None:
    assert x509.self_signed(CA_PEM) == CA
    assert x509.to_der(CA) == ssl.PEM_cert_to_DER_cert(CA_PEM)
    for other in ("", "junk", IMAC.pem, "m\u00fcll"):
        assert x509.self_signed(other) is None


@pytest.mark.parametrize(("host", "works"), [(f"zone.{ZONE}", True), ("203.0.113.10", True), (f"other.{ZONE}", False)])
def test_tls_handshake(tmp_path: Path, host: str, works: bool) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*enrol(f"zone.{ZONE}", server=True).files(tmp_path))
    client = ssl.create_default_context(cadata=CA_PEM)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13
    left, right = socket.socketpair()

    def answer() -> None:
        with contextlib.suppress(OSError), server.wrap_socket(left, server_side=True) as stream:
            stream.recv(1)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=host) as stream:
            assert works
            assert stream.version() == "TLSv1.3"
    except ssl.SSLCertVerificationError:
        assert not works
    thread.join(5)


def reason(pem: str = IMAC.pem, **changes: object) -> str | None:
    given = {"key_der": x509.spki(IMAC.request), "profile": IMAC.profile, "ca": CA, **changes}
    return x509.reason_to_issue(pem, **given)  # type: ignore[arg-type]


def test_a_good_certificate_serves() -> None:
    assert reason() is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pem": ""}, "there is none"),
        ({"pem": "junk"}, "damaged"),
        ({"key_der": b"other"}, "key is another"),
        ({"profile": replace(IMAC.profile, name=f"imac2.{ZONE}")}, "names changed"),
        ({"profile": replace(IMAC.profile, ula=IPv6Address("fd46:9f2e:12f9::1"))}, "names changed"),
        ({"profile": replace(IMAC.profile, addresses=(ip_address("192.0.2.1"),))}, "names changed"),
        ({"ca": x509.make_ca(ZONE, PREFIX)[0]}, "of another CA|signature is wrong"),
        ({"now": datetime.now(UTC) - timedelta(days=1)}, "not valid yet"),
        ({"now": datetime.now(UTC) + timedelta(days=399)}, "expired"),
        ({"now": datetime.now(UTC) + timedelta(days=270)}, "third"),
    ],
)
def test_reasons_for_a_new_one(changes: dict[str, object], why: str) -> None:
    found = reason(**changes)  # type: ignore[arg-type]
    assert found is not None
    assert any(part in found for part in why.split("|"))


def test_two_thirds_of_life_pass_without_renewal() -> None:
    assert reason(now=datetime.now(UTC) + timedelta(days=260)) is None


@settings(max_examples=40)
@given(st.integers(30, len(IMAC.pem) - 30), st.characters(min_codepoint=33, max_codepoint=126))
def test_tampering_is_seen(place: int, character: str) -> None:
    changed = IMAC.pem[:place] + character + IMAC.pem[place + 1 :]
    if changed != IMAC.pem and IMAC.pem[place] != "\n":
        assert reason(changed) is not None
    x509.describe(changed)


@settings(max_examples=100)
@given(st.text() | st.binary().map(lambda noise: "-----BEGIN CERTIFICATE REQUEST-----\n" + noise.hex()))
def test_noise_is_no_request(text: str) -> None:
    with pytest.raises(x509.BadRequest):
        x509.load_request(text)
    assert reason(text) is not None
    assert x509.summary(text)["fingerprint"] == ""


def test_a_request_must_be_signed_by_its_key() -> None:
    der = bytearray(IMAC.request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    done = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-outform", "PEM"], input=bytes(der), capture_output=True, check=False
    )
    with pytest.raises(x509.BadRequest, match="not signed"):
        x509.load_request(done.stdout.decode())


def test_a_token_may_have_an_rsa_key() -> None:
    """For users, since MIT krb5 signs there by no other kind; no weak one, and none for hosts (below)."""
    assert x509.load_request(request_for(rsa.generate_private_key(65537, 2048)), rsa=True)
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
    with pytest.raises(x509.BadRequest, match="nor an RSA key of 2048 bits"):
        x509.load_request(request_for(weak), rsa=True)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_other_kinds_of_key_are_refused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(x509.BadRequest, match="P-256"):
        x509.load_request(request_for(key))


def test_long_names_still_get_a_subject() -> None:
    zone = ".".join(["x" * 40] * 4) + ".example"
    ca, key = x509.make_ca(zone, PREFIX)
    profile = x509.Profile(f"{'h' * 50}.{zone}", ula=IMAC.profile.ula)
    certificate = x509.issue(IMAC.request, profile, ca, key)
    assert x509.reason_to_issue(x509.to_pem(certificate), x509.spki(IMAC.request), profile, ca) is None
    assert ca.subject.rdns
    assert profile.subject.rdns
