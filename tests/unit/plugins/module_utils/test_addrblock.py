# SPDX-License-Identifier: GPL-3.0-or-later
"""The RFC 3779 extension, against octets worked out by hand from RFC 3779 section 2.2.3, and against noise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import addrblock
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = ec.generate_private_key(ec.SECP256R1())


def carrying(value: bytes) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), KEY.public_key(), 1, now, now + timedelta(days=1))
    return builder.add_extension(x509.UnrecognizedExtension(addrblock.OID, value), critical=True).sign(
        KEY, hashes.SHA256()
    )


def test_octets_of_a_48() -> None:
    # SEQUENCE { SEQUENCE { OCTET STRING 0002, SEQUENCE { BIT STRING, no unused bits, 48 bits } } }
    expected = "3011 300f 0402 0002 3009 0307 00 fd6027980a9f"
    assert addrblock.address_block(IPv6Network("fd60:2798:0a9f::/48")).value == bytes.fromhex(expected)


@settings(max_examples=40)
@given(st.integers(0, 2**128 - 1), st.integers(1, 128))
def test_what_is_granted_is_read_back(number: int, length: int) -> None:
    network = IPv6Network((number >> (128 - length) << (128 - length), length))
    assert addrblock.granted_network(carrying(addrblock.address_block(network).value)) == network


@pytest.mark.parametrize(
    "value",
    [
        "", "00", "3000", "300e 300c 0402 0001 3006 0304 00 c00002",  # IPv4
        "3011 300f 0402 0002 3009 0307 00 fd6027980a9f 00",  # something behind it
        "3006 3004 0402 0002", "3008 3006 0402 0002 0500",  # inherit
    ],
)  # fmt: skip
def test_other_blocks_grant_nothing(value: str) -> None:
    assert addrblock.granted_network(carrying(bytes.fromhex(value))) is None


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_noise_grants_nothing_or_one_prefix(value: bytes) -> None:
    granted = addrblock.granted_network(carrying(value))
    assert granted is None or isinstance(granted, IPv6Network)


def test_no_extension_grants_nothing() -> None:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), KEY.public_key(), 1, now, now + timedelta(days=1))
    assert addrblock.granted_network(builder.sign(KEY, hashes.SHA256())) is None
