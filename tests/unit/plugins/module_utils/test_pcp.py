# SPDX-License-Identifier: GPL-3.0-or-later
"""PCP codec against what miniupnpd 2.3.9 said in the rehearsal fleet, octets laid out by RFC 6887, and noise."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import pcp
from hypothesis import given
from hypothesis import strategies as st

NONCE = bytes(range(12))
CLIENT = IPv4Address("192.168.10.10")
NO_ADDRESS = "00000000000000000000 ffff 00000000"

# Captured on imac's link: version, R and opcode, reserved, result; lifetime; epoch; 96 reserved bits; nonce; protocol;
# 24 reserved bits; internal and external port; external address.
GRANTED = bytes.fromhex(
    "02 81 00 00 00001c20 000031b1 000000000000000000000000"
    "000102030405060708090a0b 11 000000 1194 1194 00000000000000000000ffff cb007165"
)
MISMATCH = bytes.fromhex(
    "02 81 00 0c 00000000 000031b1 000000000000000000000000"
    "000102030405060708090a0b 11 000000 1194 1194 00000000000000000000ffff 00000000"
)
FOREIGN = bytes.fromhex(
    "02 81 00 02 00000000 000031b1 000000000000000000000000"
    "000102030405060708090a0b 11 000000 1194 1194 00000000000000000000ffff cb007165"
)
TO_VERSION_3 = bytes.fromhex(
    "02 81 00 01 00000000 000031b1 000000000000000000000000"
    "000102030405060708090a0b 11 000000 0000 0000 00000000000000000000ffff 00000000"
)
ANNOUNCED = bytes.fromhex("02 80 00 00 00000000 000031bb 000000000000000000000000")


def parse(data: bytes) -> pcp.MapReply:
    return pcp.parse_map_reply(data, NONCE, 4500)


def test_a_request_is_the_octets_of_the_rfc() -> None:
    wire = (
        "02 01 0000 00001c20 00000000000000000000ffff c0a80a0a"  # section 7.1: asked for two hours by 192.168.10.10
        f"000102030405060708090a0b 11 000000 1194 a21c {NO_ADDRESS}"  # section 11.1: UDP 4500, outside best 41500
    )
    assert pcp.map_request(CLIENT, NONCE, 4500, 41500, 7200) == bytes.fromhex(wire)


def test_a_deletion_is_the_octets_of_the_rfc() -> None:
    wire = (
        "02 01 0000 00000000 00000000000000000000ffff c0a80a0a"
        f"000102030405060708090a0b 11 000000 1194 0000 {NO_ADDRESS}"
    )
    assert pcp.map_request(CLIENT, NONCE, 4500, 0, 0) == bytes.fromhex(wire)


def test_a_grant() -> None:
    assert parse(GRANTED) == pcp.MapReply(0x31B1, 7200, NONCE, 4500, 4500, IPv4Address("203.0.113.101"))


def test_a_grant_of_an_ipv6_address() -> None:
    wire = GRANTED[:44] + IPv6Address("2001:db8::1").packed
    assert parse(wire).external == IPv6Address("2001:db8::1")


def test_options_are_passed_over() -> None:
    # Section 7.3: code, reserved, length without padding, data padded to 32 bits.
    assert parse(GRANTED + bytes.fromhex("80 00 0003 61626300 81 00 0000")) == parse(GRANTED)


def test_an_announcement() -> None:
    assert pcp.parse_announcement(ANNOUNCED) == 0x31BB


@pytest.mark.parametrize(
    ("wire", "result", "name", "lifetime"),
    [
        (MISMATCH, 12, "ADDRESS_MISMATCH", 1800),
        (FOREIGN, 2, "NOT_AUTHORIZED", 1800),
        (FOREIGN[:3] + b"\x08" + (45).to_bytes(4) + FOREIGN[8:], 8, "NO_RESOURCES", 45),
        (FOREIGN[:3] + b"\x07" + FOREIGN[4:], 7, "NETWORK_FAILURE", 30),
        (FOREIGN[:3] + b"\x0a" + b"\xff" * 4 + FOREIGN[8:], 10, "USER_EX_QUOTA", 1800),
        (FOREIGN[:3] + b"\x63" + FOREIGN[4:24], 99, "unknown", 1800),
    ],
)
def test_refusals_are_typed(wire: bytes, result: int, name: str, lifetime: int) -> None:
    with pytest.raises(pcp.RefusedError, match=name) as caught:
        parse(wire)
    assert (caught.value.result, caught.value.lifetime_s) == (result, lifetime)


@pytest.mark.parametrize(
    ("wire", "version"),
    [
        (TO_VERSION_3, 2),
        (bytes.fromhex("00 81 0001 00000e10"), 0),  # RFC 6886 section 3.5: a NAT-PMP gateway, with its header
        (bytes.fromhex("00 80 0001"), 0),
        (bytes.fromhex("01 81 0001 00000000 00000000 000000000000000000000000"), 1),
    ],
)
def test_another_version_is_told(wire: bytes, version: int) -> None:
    with pytest.raises(pcp.UnsupportedVersion) as caught:
        parse(wire)
    assert caught.value.version == version


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b"", "too short"),
        (GRANTED[:3], "too short"),
        (GRANTED[:20], "octets, expected"),
        (GRANTED[:56], "too short"),
        (GRANTED + b"\x00", "multiple of 4"),
        (GRANTED + bytes(1044), "to 1100"),
        (b"\x02\x01" + GRANTED[2:], "request"),
        (b"\x00\x81\x00\x00" + GRANTED[4:], "version 0"),
        (b"\x02\x82" + GRANTED[2:], "opcode 2"),
        (ANNOUNCED, "opcode 0"),
        (GRANTED[:24] + b"x" + GRANTED[25:], "another request"),
        (GRANTED[:36] + b"\x06" + GRANTED[37:], "another request"),
        (GRANTED[:40] + b"\x11\x95" + GRANTED[42:], "another request"),
        (GRANTED + bytes.fromhex("80 00 0005 61626364"), "longer"),
    ],
)
def test_malformed_answers_are_refused(wire: bytes, words: str) -> None:
    with pytest.raises(pcp.PcpError, match=words) as caught:
        parse(wire)
    assert not isinstance(caught.value, pcp.RefusedError)


@pytest.mark.parametrize(
    ("nonce", "internal", "suggested", "lifetime"),
    [(b"", 1, 1, 1), (NONCE, -1, 1, 1), (NONCE, 1, 65536, 1), (NONCE, 1, 1, -1), (NONCE, 1, 1, 1 << 32)],
)
def test_values_that_do_not_fit_are_refused(nonce: bytes, internal: int, suggested: int, lifetime: int) -> None:
    with pytest.raises(pcp.PcpError):
        pcp.map_request(CLIENT, nonce, internal, suggested, lifetime)


@given(st.one_of(st.binary(max_size=120), st.binary(max_size=80).map(lambda tail: GRANTED[:24] + tail)))
def test_noise_raises_only_the_typed_error(data: bytes) -> None:
    for read in (parse, pcp.parse_announcement):
        with contextlib.suppress(pcp.PcpError):
            read(data)


@given(
    st.binary(min_size=12, max_size=12),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.ip_addresses(),
)
def test_every_value_comes_back(
    nonce: bytes, internal: int, external: int, lifetime: int, epoch: int, address: IPv4Address | IPv6Address
) -> None:
    """The answer to a request has the request's own body, so our encoder is what is read back."""
    client = IPv4Address(epoch)
    request = pcp.map_request(client, nonce, internal, external, lifetime)
    assert request[8:24] == bytes.fromhex("00000000000000000000ffff") + client.packed
    header = bytes((2, 0x81, 0, 0)) + request[4:8] + epoch.to_bytes(4) + bytes(12)
    outer = address.packed if address.version == 6 else bytes.fromhex("00000000000000000000ffff") + address.packed
    mapped = IPv6Address(outer).ipv4_mapped
    reply = pcp.parse_map_reply(header + request[24:44] + outer, nonce, internal)
    assert reply == pcp.MapReply(epoch, lifetime, nonce, internal, external, mapped or address)
