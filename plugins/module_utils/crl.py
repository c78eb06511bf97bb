# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's certificate revocation list (RFC 5280 section 5): made, read, and said in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from .x509 import BACKDATED, authority_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric import ec

# RFC 5280 section 3.3: an entry stays until a list came after the certificate's end. A host's clock may be behind.
KEPT_PAST_END = timedelta(days=30)

# RFC 5280 section 5.3.1, those that an owner has a use for.
REASONS = {
    "key_compromise": x509.ReasonFlags.key_compromise,
    "superseded": x509.ReasonFlags.superseded,
    "cessation_of_operation": x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that counts no more.

    ``serial`` is hex; ``label``, ``role`` and ``key`` are the enrolment's ('' when the owner has no record of it);
    ``reason`` is one of REASONS; ``at`` and ``not_after`` are ISO 8601 in UTC.
    """

    serial: str
    label: str
    role: str
    key: str
    reason: str
    at: str
    not_after: str


def make(
    revoked: Iterable[Revoked],
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    former: x509.CertificateRevocationList | None,
    now: datetime | None = None,
) -> x509.CertificateRevocationList:
    """Sign the list that follows ``former``.

    It is good for as long as the CA: lists are pushed when they change, so an end of its own would only stop a fleet
    whose owner is away. A host that missed one lets nobody in for longer than that one's certificate lasts.

    Its number (RFC 5280 section 5.2.3) is the time, so that it grows even when the former list was lost.
    """
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    # A list without entries counts as false.
    before = number(former) if former is not None else 0
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(max(now - BACKDATED, ca.not_valid_before_utc))
        .next_update(ca.not_valid_after_utc)
        .add_extension(authority_identifier(ca), critical=False)
        .add_extension(x509.CRLNumber(max(int(now.timestamp()), before + 1)), critical=False)
    )
    for each in revoked:
        if datetime.fromisoformat(each.not_after) + KEPT_PAST_END > now:
            builder = builder.add_revoked_certificate(_entry(each))
    return builder.sign(ca_key, hashes.SHA256())


def load(pem: bytes, ca: x509.Certificate) -> x509.CertificateRevocationList:
    """Return the list in a file.

    Raises:
        ValueError: it is none, or not of this CA.
    """
    found = x509.load_pem_x509_crl(pem)
    key = ca.public_key()
    if found.issuer != ca.subject or not found.is_signature_valid(key):  # type: ignore[arg-type]
        raise ValueError("the list is not signed by the owner CA")
    return found


def number(found: x509.CertificateRevocationList) -> int:
    """Return the list's number; 0 when it has none."""
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def to_pem(found: x509.CertificateRevocationList) -> str:
    """Return the list as PEM text."""
    return found.public_bytes(serialization.Encoding.PEM).decode()


def describe(pem: str) -> str:
    """Return what a reader of a diff wants: number and serials, one a line; '' for ''; a note for what is none."""
    if not pem:
        return ""
    try:
        found = x509.load_pem_x509_crl(pem.encode())
        serials = [f"revoked: {entry.serial_number:x}" for entry in found]
        return "\n".join([f"number: {number(found)}", *sorted(serials)]) + "\n"
    except Exception as error:  # noqa: BLE001 - foreign bytes: the parser has many ways to say no
        return f"not a readable list ({type(error).__name__})\n"


def _entry(each: Revoked) -> x509.RevokedCertificate:
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(int(each.serial, 16))
        .revocation_date(datetime.fromisoformat(each.at))
        .add_extension(x509.CRLReason(REASONS[each.reason]), critical=False)
        .build()
    )
