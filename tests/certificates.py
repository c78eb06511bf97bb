# SPDX-License-Identifier: GPL-3.0-or-later
"""An owner CA and what it issues, as files, for tests that speak TLS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from ansible_collections.btmm.fleet.plugins.module_utils import crl, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PREFIX = IPv6Network("fd12:3456:789a::/48")


@dataclass(frozen=True)
class Certificate:
    """The files of one holder."""

    key: Path
    certificate: Path
    ca: Path
    crl: Path


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as it stands in a file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Owner:
    """One owner's CA; files are written into `directory`."""

    def __init__(self, directory: Path, zone: str = "bob.members.example") -> None:
        self.directory = directory
        self.zone = zone
        self._ca, self._key = x509.make_ca(zone, PREFIX)
        self.ca = directory / f"{zone}.ca.pem"
        self.ca.write_text(x509.to_pem(self._ca))
        self.crl = directory / f"{zone}.crl.pem"
        self._revoked: list[crl.Revoked] = []
        self._list: cx509.CertificateRevocationList | None = None
        self._sign_list()

    def server(self, label: str = "zone") -> Certificate:
        """Issue a zone host's certificate."""
        return self._issue(label, x509.Profile(f"{label}.{self.zone}"))

    def host(self, label: str = "imac", number: int = 1) -> Certificate:
        """Issue the certificate of a host of the fleet; its address ends with `number`."""
        return self._issue(label, x509.Profile(f"{label}.{self.zone}", ula=IPv6Address(int(PREFIX[0]) + number)))

    def kdc(self, label: str, realm: str) -> Certificate:
        """Issue the certificate of a host's KDC."""
        return self._issue(label, x509.Profile(f"{label}.{self.zone}", realm=realm))

    def revoke(self, holder: Certificate) -> None:
        """Put a certificate on the list, and sign it anew."""
        certificate = cx509.load_pem_x509_certificate(holder.certificate.read_bytes())
        at, end = datetime.now(UTC).isoformat(timespec="seconds"), certificate.not_valid_after_utc.isoformat()
        self._revoked.append(crl.Revoked(x509.serial(certificate), "", "", "", "key_compromise", at, end))
        self._sign_list()

    def _sign_list(self) -> None:
        self._list = crl.make(self._revoked, self._ca, self._key, self._list)
        self.crl.write_text(crl.to_pem(self._list))

    def _issue(self, label: str, profile: x509.Profile) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        request = cx509.CertificateSigningRequestBuilder(cx509.Name([])).sign(key, hashes.SHA256())
        place = self.directory / f"{label}.{self.zone}"
        files = Certificate(place.with_suffix(".key"), place.with_suffix(".crt"), self.ca, self.crl)
        files.key.write_bytes(private_pem(key))
        files.certificate.write_text(x509.to_pem(x509.issue(request, profile, self._ca, self._key)))
        return files
