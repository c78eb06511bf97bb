# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates are revoked by whose they are or by number, and the list says so."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import revocation
from ansible_collections.btmm.fleet.plugins.filter.crl_records import crl_records
from ansible_collections.btmm.fleet.plugins.module_utils import crl, x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.modules import revocation as documentation
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.acting import run_action

if TYPE_CHECKING:
    from pathlib import Path

ZONE = "bob.members.example"


class Place:
    """An owner's folder with what was issued to imac, its server and its KDC, to mini, and to alice on both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = OwnerStore(folder / "owner", ZONE, "correct horse")
        self.store.init()
        realm = f"LKDC:SHA1.{'0' * 40}"
        own = {"ula": self.store.prefix.network_address}
        self.imac = [self.machine("imac", own), self.machine("imac", {}), self.machine("imac", {"realm": realm})]
        self.mini = [self.machine("mini", own)]
        self.alice = [self.issue(label, x509.UserProfile("alice", ZONE)) for label in ("imac", "mini")]

    def machine(self, label: str, what: dict[str, Any]) -> str:
        return self.issue(label, x509.Profile(f"{label}.{ZONE}", **what))

    def issue(self, label: str, profile: x509.AnyProfile, key: ec.EllipticCurvePrivateKey | None = None) -> str:
        builder = cx509.CertificateSigningRequestBuilder(cx509.Name([]))
        request = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        return self.store.sign(pem, profile, label=label, host=label).enrolment.serial

    def revoke(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        given = {"zone": ZONE, "owner_dir": str(self.folder / "owner"), "passphrase": "correct horse", **options}
        return run_action(revocation.ActionModule, given, {}, check=check)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def listed(done: dict[str, Any]) -> set[str]:
    return {line.removeprefix("revoked: ") for line in crl.describe(done["crl"]).splitlines()[1:]}


def test_a_host_loses_all_of_its_certificates_and_its_key(place: Place) -> None:
    secret = place.store.tsig_secret("imac")
    planned = place.revoke(hosts=["imac"], check=True)
    assert place.store.enrolment("imac") is not None
    done = place.revoke(hosts=["iMac"])
    for each in (planned, done):
        assert each["changed"]
        assert {entry["serial"] for entry in each["revoked"]} == {*place.imac, place.alice[0]} == listed(each)
    assert "(kdc imac): key_compromise" in done["diff"][0]["after"]
    after = OwnerStore(place.folder / "owner", ZONE, "correct horse")
    assert {record.label for record in after.enrolments()} == {"mini"}
    assert after.tsig_secret("imac") != secret
    again = place.revoke(hosts=["imac"])
    assert (again["changed"], again["revoked"], again["crl"]) == (False, [], done["crl"])


def test_a_user_loses_those_of_all_hosts_and_the_hosts_keep_theirs(place: Place) -> None:
    done = place.revoke(users=["alice"], reason="superseded")
    assert {entry["serial"] for entry in done["revoked"]} == set(place.alice) == listed(done)
    assert len(place.store.enrolments()) == 6
    assert not place.revoke(users=["alice"])["changed"]


def test_a_users_key_that_others_may_have_never_comes_back(place: Place) -> None:
    key, profile = ec.generate_private_key(ec.SECP256R1()), x509.UserProfile("alice", ZONE)
    place.issue("mini", profile, key)
    place.revoke(users=["alice"])
    with pytest.raises(OwnerError, match=r"key of user 'alice' on 'mini' was revoked .* 'btmm login --new'"):
        place.issue("mini", profile, key)
    place.issue("mini", profile)


def test_a_serial_alone_leaves_the_host_its_key(place: Place) -> None:
    done = place.revoke(serials=[place.mini[0]], reason="superseded")
    assert done["revoked"] == [{"serial": place.mini[0], "label": "mini", "role": "host"}]
    assert place.store.enrolment("mini") is not None
    assert place.store.tsig_generation("mini") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hosts": ["macbook"]}, "no certificate was issued to host 'macbook'"),
        ({"users": ["imac"]}, "no certificate was issued to user 'imac'"),
        ({"serials": ["x"]}, "'x' is no serial number"),
        ({"hosts": ["a.b"]}, "label"),
    ],
)
def test_a_wrong_name_revokes_nothing(place: Place, options: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleActionFail, match=said):
        place.revoke(**{"hosts": ["mini"], **options})
    assert place.store.revocations.all() == []
    assert place.store.enrolment("mini") is not None


def test_the_documentation_names_all_reasons() -> None:
    assert f"[{', '.join(crl.REASONS)}]" in documentation.DOCUMENTATION


def test_the_zone_says_it_octet_for_octet(place: Place) -> None:
    done = place.revoke(hosts=["mini"])
    record, digest = crl_records(done["crl"])
    content = record["rdata"][0].removeprefix("PKIX 0 0 ")
    assert digest["rdata"] == [f'"sha256={hashlib.sha256(base64.b64decode(content)).hexdigest()}"']
    folded = "\n".join(content[start : start + 64] for start in range(0, len(content), 64))
    assert f"-----BEGIN X509 CRL-----\n{folded}\n-----END X509 CRL-----\n" == done["crl"]
