# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's own realm with MIT krb5's real KDC on loopback, made by the modules themselves, and clients of it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.certificates import private_pem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ZONE = "bob.members.example"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"  # RFC 5280 section 4.2.1.12
KP_CLIENT = "1.3.6.1.5.2.3.4"  # RFC 4556 section 3.2.1
# The first of RFC 5280's nine, and no other; without it MIT's KDC speaks of an inconsistent key purpose.
DIGITAL_SIGNATURE = cx509.KeyUsage(True, *[False] * 8)


@dataclass(frozen=True)
class Owner:
    """An owner's CA. Users' certificates are built here by hand, not by the library."""

    ca: cx509.Certificate
    key: ec.EllipticCurvePrivateKey

    def user(
        self, place: Path, name: str, *, organization: str = ZONE, purposes: Sequence[str] = (CLIENT_AUTH, KP_CLIENT)
    ) -> str:
        """Write certificate and key of a user; return MIT's name of the identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, name))
        start = datetime.now(UTC) - timedelta(minutes=1)
        builder = (
            cx509.CertificateBuilder()
            .subject_name(cx509.Name([cx509.NameAttribute(oid, text) for oid, text in attributes]))
            .issuer_name(self.ca.subject)
            .public_key(key.public_key())
            .serial_number(cx509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=1))
            .add_extension(DIGITAL_SIGNATURE, critical=True)
            .add_extension(cx509.ExtendedKeyUsage([cx509.ObjectIdentifier(oid) for oid in purposes]), critical=False)
        )
        return self._written(place, name, key, builder.sign(self.key, hashes.SHA256()))

    def machine(self, place: Path, name: str, profile: x509.Profile) -> str:
        """Do the same for a machine's certificate, as the library issues it."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = cx509.CertificateSigningRequestBuilder(cx509.Name([])).sign(key, hashes.SHA256())
        return self._written(place, name, key, x509.issue(request, profile, self.ca, self.key))

    @staticmethod
    def _written(place: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: cx509.Certificate) -> str:
        (place / f"{name}.crt").write_text(x509.to_pem(certificate))
        (place / f"{name}.key").write_bytes(private_pem(key))
        return f"FILE:{place / name}.crt,{place / name}.key"


@contextmanager
def running(directory: Path, realm: str, port: int) -> Iterator[None]:
    """Run the realm's KDC."""
    conf = str(directory / "kdc.conf")
    environment = {**os.environ, "KRB5_CONFIG": conf, "KRB5_KDC_PROFILE": conf}
    log = (directory / "log").open("w")
    process = subprocess.Popen(["/usr/sbin/krb5kdc", "-n", "-r", realm], env=environment, stdout=log, stderr=log)
    try:
        _await(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("the KDC does not answer")


@dataclass(frozen=True)
class Client:
    """A machine that asks a realm for tickets, with a cache of its own."""

    place: Path
    realm: str
    port: int
    ca: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of MIT krb5's client tools."""
        conf = self.place / "krb5.conf"
        conf.write_text(
            f"[libdefaults]\n default_realm = {self.realm}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
            " udp_preference_limit = 1\n rdns = false\n dns_canonicalize_hostname = false\n"
            f" pkinit_anchors = FILE:{self.ca}\n"
            f"[realms]\n {self.realm} = {{\n  kdc = 127.0.0.1:{self.port}\n }}\n"
        )
        environment = {
            **os.environ,
            "KRB5_CONFIG": str(conf),
            "KRB5CCNAME": f"FILE:{self.place / 'cache'}",
            "LC_ALL": "C",
            "KRB5_TRACE": "/dev/stderr",
        }
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30
        )

    def login(self, user: str, identity: str) -> subprocess.CompletedProcess[str]:
        """Get a ticket with a certificate; why the client gave up stands in its trace, on standard error."""
        return self.run("kinit", "-X", f"X509_user_identity={identity}", f"{user}@{self.realm}")
