# SPDX-License-Identifier: GPL-3.0-or-later
"""An owner with a CA, a zone host and hosts, signed by the library that signs the fleet's."""

from __future__ import annotations

import ssl
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path

from ansible_collections.btmm.fleet.plugins.module_utils import ula, x509
from cryptography import x509 as foreign
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ZONE = "bob.members.example"
PREFIX = IPv6Network("fd12:3456:789a::/48")


class Owner:
    """Files below `folder`: ca.pem, and for each name a folder x509/NAME.pem and private/NAME.pem."""

    def __init__(self, folder: Path, zone: str = ZONE) -> None:
        self.folder = folder
        self.zone = zone
        self._ca, self._key = x509.make_ca(zone, PREFIX)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._ca.public_bytes(serialization.Encoding.PEM))

    def issue(self, label: str, role: str = "host") -> tuple[Path, Path]:
        """Return the paths of certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = foreign.CertificateSigningRequestBuilder().subject_name(foreign.Name([])).sign(key, hashes.SHA256())
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        profile = (
            x509.Profile(f"{label}.{self.zone}", ula=ula.host_address(PREFIX, spki))
            if role == "host"
            else x509.Profile(f"{label}.{self.zone}", addresses=(IPv4Address("127.0.0.1"),))
        )
        certificate = x509.issue(request, profile, self._ca, self._key)
        paths = self.folder / "x509" / f"{label}.pem", self.folder / "private" / f"{label}.pem"
        for path in paths:
            path.parent.mkdir(exist_ok=True)
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def client(self, label: str | None, role: str = "host", issuer: Owner | None = None) -> ssl.SSLContext:
        """Return a client's context with a host's certificate, or with none."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.set_alpn_protocols(["btmm-relay"])
        if label is not None:
            context.load_cert_chain(*(issuer or self).issue(label, role))
        return context
