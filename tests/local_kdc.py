# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's own realm with MIT krb5's real KDC on loopback, made by the modules themselves, and clients of it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ZONE = "bob.members.example"
PREFIX = IPv6Network("fd46:9f2e:12f9::/48")


@dataclass(frozen=True)
class Owner:
    """An owner's CA, for users' certificates."""

    ca: cx509.Certificate
    key: ec.EllipticCurvePrivateKey

    def user(self, place: Path, name: str, profile: x509.UserProfile | x509.Profile) -> str:
        """Write certificate and key of a user; return MIT's name of the identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = cx509.CertificateSigningRequestBuilder(cx509.Name([])).sign(key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        certificate = x509.issue(x509.load_request(pem), profile, self.ca, self.key)
        (place / f"{name}.crt").write_text(x509.to_pem(certificate))
        (place / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
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
    end = time.monotonic() + 10
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
        }
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30
        )

    def login(self, user: str, identity: str) -> subprocess.CompletedProcess[str]:
        """Get a ticket with a certificate."""
        return self.run("kinit", "-X", f"X509_user_identity={identity}", f"{user}@{self.realm}")
