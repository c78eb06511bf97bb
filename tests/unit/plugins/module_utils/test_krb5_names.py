# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of a Local KDC; the anchor and its fingerprint are openssl's."""

from __future__ import annotations

import re
import ssl

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import krb5_names
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import InvalidPrincipal

# openssl req -x509 -new -sha256 -subj "/CN=Local KDC"; openssl x509 -fingerprint -sha1
ANCHOR = """\
-----BEGIN CERTIFICATE-----
MIIBfDCCASOgAwIBAgIUdCpFxsd/52QKGhKh44j9oTPO9PowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJTG9jYWwgS0RDMB4XDTI2MTEyMTEyNDMzNVoXDTQ2MTEyMTEy
NDMzNVowFDESMBAGA1UEAwwJTG9jYWwgS0RDMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE1DS6JxMSWvrxH3fw+a0l3cd/hATFBe250uC2oJ7VJO5wYs5JidIvtXFp
gT8g+ohxzC9M5jLEFdkhPmw6X6GD76NTMFEwHQYDVR0OBBYEFAz0ApfNSOvPnj50
Riodo2MtR3eOMB8GA1UdIwQYMBaAFAz0ApfNSOvPnj50Riodo2MtR3eOMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgVROeM/zP7i9sNqAvza65nL1u
zjdFKoCOJhOOvR27Hx0CIDy6aaWiyeTqSBRHBOo1nL5MaUvdXKd85bwta78kbENM
-----END CERTIFICATE-----
"""
REALM = "LKDC:SHA1.549D0D3F0AF88BC134019DD17E2D1D957B85D619"


def test_realm_is_the_anchors_fingerprint() -> None:
    assert krb5_names.realm_of(ssl.PEM_cert_to_DER_cert(ANCHOR.strip())) == REALM
    assert krb5_names.is_local(REALM)


@pytest.mark.parametrize(
    "text", ["", REALM.lower(), REALM + "0", REALM[:-1], REALM + "\n", "EXAMPLE", REALM[:-1] + "G"]
)
def test_what_is_no_realm(text: str) -> None:
    assert not krb5_names.is_local(text)


def test_a_service_has_two_principals() -> None:
    assert krb5_names.service_principals(["host", "HTTP"], REALM, "imac.bob.members.example") == [
        f"host/{REALM}", "host/imac.bob.members.example", f"HTTP/{REALM}", "HTTP/imac.bob.members.example",
    ]  # fmt: skip
    assert krb5_names.service_principals(["nfs", "nfs"], "R", "imac") == ["nfs/R", "nfs/imac"]


@pytest.mark.parametrize("text", ["", "a/b", "a b", "a@b", 'a"b', "a\nb", "1a", "a" * 33, "krbtgt", "kadmin", "K"])
def test_what_is_no_service(text: str) -> None:
    with pytest.raises(InvalidPrincipal, match="is no name of a service"):
        krb5_names.service_principals([text], REALM, "imac")


def test_a_name_is_lower_case_without_a_dot() -> None:
    assert krb5_names.check_name("iMac.Bob.Members.Example.") == "imac.bob.members.example"
    assert krb5_names.check_name(f"{'z' * 63}.example")


@pytest.mark.parametrize(
    "text", ["", ".", "imac", "imac..example", "-a.example", "a-.example", "a b.example", "a.example\naddprinc",
             'a".example', "m\u00fc.example", f"{'z' * 64}.example", "a." * 127 + "b"]
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidPrincipal, match="is no name in the DNS"):
        krb5_names.check_name(text)


@pytest.mark.parametrize("text", ["", "Bob", "b.b", "b b", "b/c", 'b"', "b$", "b\n", "-b", "b" * 33, "m\u00fcller"])
def test_what_is_no_user(text: str) -> None:
    with pytest.raises(InvalidPrincipal, match="cannot be a user"):
        krb5_names.check_user(text)


def test_a_rule_takes_one_subject_only() -> None:
    rule = krb5_names.user_rule("bob", "my-fleet.members.example")
    assert rule == r"<SUBJECT>^O=my-fleet\.members\.example,CN=bob$<EKU>clientAuth"
    pattern = re.compile(rule.removeprefix("<SUBJECT>").removesuffix("<EKU>clientAuth"))
    assert pattern.search("O=my-fleet.members.example,CN=bob")
    for other in (
        "O=my-fleet.members.example,CN=bobby",
        "O=my-fleetxmembers.example,CN=bob",
        "C=X,O=my-fleet.members.example,CN=bob",
    ):
        assert not pattern.search(other)


def test_a_long_zone_fits_an_organization() -> None:
    zone = f"{'z' * 60}.members.example"
    assert len(krb5_names.user_organization(zone)) == 64
    assert zone.endswith(krb5_names.user_organization(zone))
