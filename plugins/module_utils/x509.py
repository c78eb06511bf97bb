# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's certificates: one CA, one certificate per key (RFC 5280, RFC 4945, RFC 3779)."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from . import krb5_san
from .addrblock import address_block, granted_network
from .profiles import AnyProfile, Profile, UserProfile, common_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address, IPv6Network

# A host whose clock is behind ours still accepts its new certificate; twice what TSIG allows (RFC 8945 section 10).
BACKDATED = timedelta(minutes=10)
MIN_RSA_BITS = 2048  # NIST SP 800-57: 112 bits of security, good until 2030
CA_LIFE = timedelta(days=3653)

__all__ = ["AnyProfile", "Profile", "UserProfile"]


class BadRequest(ValueError):
    """The certificate request is no request, is not signed by its key, or holds a key that we do not take."""


def make_ca(
    zone: str, prefix: IPv6Network, now: datetime | None = None, former: x509.Certificate | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make the owner's CA for ``zone`` (no final dot): it can name hosts of the zone only, and grant only the /48.

    OpenSSL and charon enforce both, and accept both as critical (RFC 5280 section 4.2.1.10, RFC 3779 section 2.1).
    One that takes the place of a ``former`` one has a name of its own: by names an issuer is looked up.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = now or datetime.now(UTC)
    name = common_name(f"{zone} owner CA{_next_number(former) if former else ''}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Names only: an address constraint would bar the public addresses of zone hosts. What addresses a tunnel may
        # carry is bound by the block below.
        .add_extension(x509.NameConstraints([x509.DNSName(zone)], None), critical=True)
        .add_extension(address_block(prefix), critical=True)
    )
    return builder.sign(key, hashes.SHA256()), key


def load_request(pem: str, *, rsa: bool = False) -> x509.CertificateSigningRequest:
    """Return the request of a host or user. Only its key is used, and its signature shows that he holds the key.

    Raises:
        BadRequest: no request, not signed by its key, or not an EC key on P-256; with ``rsa``, an RSA key of 2048 bits
            or more is good, too.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        signed = request.is_signature_valid
    except Exception as error:  # noqa: BLE001 - foreign bytes: the parser has many ways to say no
        raise BadRequest(f"the host's certificate request cannot be read ({error})") from None
    elliptic = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not elliptic and not (rsa and isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS):
        others = f", nor an RSA key of {MIN_RSA_BITS} bits" if rsa else ""
        raise BadRequest(f"the host's key is not an ECDSA P-256 key{others}")
    if not signed:
        raise BadRequest("the host's certificate request is not signed by the key in it")
    return request


def issue(
    request: x509.CertificateSigningRequest,
    profile: AnyProfile,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime | None = None,
) -> x509.Certificate:
    """Sign a certificate for the request's key; every name comes from ``profile``, none from the request."""
    now = now or datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(profile.subject)
        .issuer_name(ca.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        # A certificate that outlives its CA only looks longer.
        .not_valid_after(min(now + timedelta(days=profile.days), ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(profile.purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
        .add_extension(authority_identifier(ca), critical=False)
    )
    if profile.alternative_names:
        builder = builder.add_extension(profile.alternative_names, critical=False)
    if profile.block:
        builder = builder.add_extension(address_block(profile.block), critical=True)
    return builder.sign(ca_key, hashes.SHA256())


def reason_to_issue(
    pem: str, key_der: bytes, profile: AnyProfile, ca: x509.Certificate, now: datetime | None = None
) -> str | None:
    """Say why the certificate on a host must be made (anew), as a clause; None when it serves.

    Args:
        pem: what the host has; may be empty or anything.
        key_der: SubjectPublicKeyInfo of the host's key.
        profile: what the certificate shall say.
        ca: the CA in force.
        now: aware time to judge by, default the controller's clock.
    """
    if not pem:
        return "there is none"
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.verify_directly_issued_by(ca)
        if spki(certificate) != key_der:
            return "the host's key is another one"
        if certificate.subject != profile.subject or _alternative_names(certificate) != profile.alternative_names:
            return "its names changed"
        if granted_network(certificate) != profile.block:
            return "its address block changed"
    except InvalidSignature:
        return "its signature is wrong"
    except Exception as error:  # noqa: BLE001 - the host's file is foreign input: whatever is wrong, a new one mends it
        return f"it is damaged or of another CA ({type(error).__name__})"
    now = now or datetime.now(UTC)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return "it is not valid yet"
    if now >= end:
        return "it expired"
    if (end - now) * 3 < end - start:
        return "less than a third of its life is left"
    return None


def spki(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """Return the SubjectPublicKeyInfo, DER: what the host's address is made of."""
    return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def serial(certificate: x509.Certificate) -> str:
    """Return the serial number as lower-case hex."""
    return f"{certificate.serial_number:x}"


def to_pem(certificate: x509.Certificate) -> str:
    """Return the certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def to_der(certificate: x509.Certificate) -> bytes:
    """Return the certificate's octets."""
    return certificate.public_bytes(serialization.Encoding.DER)


def self_signed(pem: str) -> x509.Certificate | None:
    """Return a certificate that the key in it signed; None for any other, and for what is none."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # noqa: BLE001 - foreign bytes, see reason_to_issue
        return None
    return certificate


def fingerprint(certificate: x509.Certificate) -> str:
    """Return SHA-256 over the DER certificate as lower-case hex, as ``openssl x509 -fingerprint`` means it."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def summary(pem: str) -> dict[str, str]:
    """Return ``fingerprint``, ``serial`` (hex), ``not_after`` (ISO 8601) of a certificate; empty for anything else."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        return {
            "fingerprint": fingerprint(certificate),
            "serial": serial(certificate),
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
    except ValueError:
        return {"fingerprint": "", "serial": "", "not_after": ""}


def describe(pem: str) -> str:
    """Return the fields that a reader of a diff wants, one a line; a note for what is no certificate; '' for ''."""
    if not pem:
        return ""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        return describe_fields(
            certificate.subject,
            _alternative_names(certificate) or (),
            granted_network(certificate),
            certificate.not_valid_after_utc.isoformat(),
        )
    except Exception as error:  # noqa: BLE001 - foreign bytes, see reason_to_issue
        return f"not a readable certificate ({type(error).__name__})\n"


def describe_fields(subject: x509.Name, names: Iterable[x509.GeneralName], block: IPv6Network | None, end: str) -> str:
    """Return the text of ``describe`` for a certificate that may not be made yet."""
    shown = ", ".join(map(_text, names))
    lines = [f"subject: {subject.rfc4514_string()}", f"names: {shown}", f"not after: {end}"]
    if block:
        lines.insert(2, f"address block: {block}")
    return "\n".join(lines) + "\n"


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """Return an IP address for a subject alternative name.

    Raises:
        ValueError: not an address.
    """
    return ipaddress.ip_address(text)


def _text(name: x509.GeneralName) -> str:
    return (krb5_san.principal_of(name) if isinstance(name, x509.OtherName) else None) or str(name.value)


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return what says of a certificate or a list that this CA signed it (RFC 5280 section 4.2.1.1)."""
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _next_number(former: x509.Certificate) -> str:
    found = re.search(r" CA (\d+)$", former.subject.rfc4514_string())
    return f" {int(found[1]) + 1 if found else 2}"


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
