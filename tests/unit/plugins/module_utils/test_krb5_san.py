# SPDX-License-Identifier: GPL-3.0-or-later
"""KRB5PrincipalName against octets that openssl encoded, and against noise."""

from __future__ import annotations

from ansible_collections.btmm.fleet.plugins.module_utils import krb5_san
from cryptography.x509 import ObjectIdentifier, OtherName
from hypothesis import given, settings
from hypothesis import strategies as st

REALM = "LKDC:SHA1.38CBF9F6F585901BB985CD43BEEFCD64B5FB35D6"
# openssl asn1parse -genconf, with RFC 4556 section 3.2.2 and RFC 4120 section 5.2.2 as its configuration:
# SEQUENCE { [0] GeneralString REALM, [1] SEQUENCE { [0] INTEGER 2, [1] SEQUENCE OF { "krbtgt", REALM } } }
GOLDEN = bytes.fromhex(
    "307fa0341b324c4b44433a534841312e3338434246394636463538353930314242393835434434334245454643443634"
    "4235464233354436a1473045a003020102a13e303c1b066b72627467741b324c4b44433a534841312e33384342463946"
    "364635383539303142423938354344343342454546434436344235464233354436"
)


def test_octets() -> None:
    name = krb5_san.kdc_name(REALM)
    assert name.type_id.dotted_string == "1.3.6.1.5.2.2"
    assert name.value == GOLDEN


def test_read_back() -> None:
    assert krb5_san.principal_of(OtherName(krb5_san.PKINIT_SAN, GOLDEN)) == f"krbtgt/{REALM}@{REALM}"
    assert krb5_san.principal_of(OtherName(krb5_san.PKINIT_SAN, GOLDEN[:-1])) is None
    assert krb5_san.principal_of(OtherName(krb5_san.PKINIT_SAN, GOLDEN + b"\x05\x00")) is None
    assert krb5_san.principal_of(OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), GOLDEN)) is None


@settings(max_examples=200)
@given(
    st.binary(max_size=80)
    | st.tuples(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255)).map(
        lambda spot: GOLDEN[: spot[0]] + bytes([spot[1]]) + GOLDEN[spot[0] + 1 :]
    )
)
def test_noise_is_some_name_or_none(value: bytes) -> None:
    name = krb5_san.principal_of(OtherName(krb5_san.PKINIT_SAN, value))
    assert name is None or isinstance(name, str)
