# SPDX-License-Identifier: GPL-3.0-or-later
"""NAT-PMP codec against octets written out from RFC 6886, and against noise."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import natpmp
from hypothesis import given
from hypothesis import strategies as st

MAP_REPLY = bytes.fromhex("0081 0000 0000002a 1194 a21c 00001c20")


def test_requests_are_the_octets_of_the_rfc() -> None:
    assert natpmp.address_request() == bytes.fromhex("0000")
    assert natpmp.map_request(4500, 41500, 7200) == bytes.fromhex("0001 0000 1194 a21c 00001c20")
    assert natpmp.map_request(4500, 0, 0) == bytes.fromhex("0001 0000 1194 0000 00000000")


def test_address_reply() -> None:
    reply = natpmp.parse_address_reply(bytes.fromhex("0080 0000 00000e10 cb007165"))
    assert reply == natpmp.AddressReply(3600, IPv4Address("203.0.113.101"))


def test_map_reply_carries_the_granted_port() -> None:
    assert natpmp.parse_map_reply(MAP_REPLY, 4500) == natpmp.MapReply(42, 4500, 41500, 7200)


def test_reply_for_another_port_is_not_ours() -> None:
    with pytest.raises(natpmp.NatPmpError, match="port 4500, asked for 4501"):
        natpmp.parse_map_reply(MAP_REPLY, 4501)


@pytest.mark.parametrize(
    ("octets", "result", "words"),
    [
        ("0081 0002 00000001 1194 0000 00000000", 2, "not authorized"),
        ("0081 0003 00000001", 3, "network failure"),
        ("0081 0004 00000001 1194 0000 00000000", 4, "out of resources"),
        ("0081 0063 00000001", 99, "unknown"),
        ("0281 0001 00000000", 1, "unsupported version"),  # a PCP-only gateway answers with its own version
        ("0080 0001", 1, "unsupported version"),
    ],
)
def test_refusals_are_typed(octets: str, result: int, words: str) -> None:
    with pytest.raises(natpmp.RefusedError, match=words) as caught:
        natpmp.parse_map_reply(bytes.fromhex(octets), 4500)
    assert caught.value.result == result


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        ("", "too short"),
        ("008100", "too short"),
        ("0001 0000 00000000", "request"),
        ("0281 0000 00000000 1194 a21c 00001c20", "version 2"),
        ("0080 0000 00000000 cb007165 00000000", "opcode 128"),
        ("0081 0000 0000002a 1194 a21c 00001c", "too short"),
    ],
)
def test_malformed_replies_are_refused(octets: str, words: str) -> None:
    with pytest.raises(natpmp.NatPmpError, match=words):
        natpmp.parse_map_reply(bytes.fromhex(octets), 4500)


@pytest.mark.parametrize(("port", "lifetime"), [(-1, 1), (65536, 1), (4500, -1), (4500, 1 << 32)])
def test_values_that_do_not_fit_are_refused(port: int, lifetime: int) -> None:
    with pytest.raises(natpmp.NatPmpError):
        natpmp.map_request(port, 0, lifetime)


@given(st.binary(max_size=64))
def test_noise_raises_only_the_typed_error(data: bytes) -> None:
    for parse in (natpmp.parse_address_reply, lambda d: natpmp.parse_map_reply(d, 4500)):
        with contextlib.suppress(natpmp.NatPmpError):
            parse(data)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
def test_every_value_comes_back(epoch: int, internal: int, external: int, lifetime: int) -> None:
    wire = b"\x00\x81\x00\x00" + epoch.to_bytes(4) + internal.to_bytes(2) + external.to_bytes(2) + lifetime.to_bytes(4)
    assert natpmp.parse_map_reply(wire, internal) == natpmp.MapReply(epoch, internal, external, lifetime)
