# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay's messages: what they look like on the wire, and that nothing else is taken."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import rendezvous as wire
from hypothesis import given
from hypothesis import strategies as st

NAME = "00112233445566778899aabbccddeeff"
BOTH = (*wire.FROM_HOST, *wire.FROM_RELAY)

# Written by hand from the table in docs/architecture.md, not by our own encoder.
GOLDEN: list[tuple[bytes, wire.Message]] = [
    (b'\x00\x0f{"type":"ping"}', wire.Ping()),
    (b'\x00\x0f{"type":"pong"}', wire.Pong()),
    (b'\x00\x3b{"type":"connect","number":7,"peer":"imac","way":"relayed"}', wire.Connect(7, "imac", "relayed")),
    (
        b'\x00\x4c{"type":"observed","port":4501,"address":"203.0.113.101","outer_port":24629}',
        wire.Observed(4501, IPv4Address("203.0.113.101"), 24629),
    ),
]


def body(message: wire.Message) -> bytes:
    return wire.encode(message)[2:]


@pytest.mark.parametrize(("octets", "message"), GOLDEN, ids=[message.TYPE for _, message in GOLDEN])
def test_golden_octets(octets: bytes, message: wire.Message) -> None:
    assert wire.encode(message) == octets
    assert wire.decode(octets[2:], BOTH) == message


def test_token_datagram_is_neither_ike_nor_esp_nor_keepalive() -> None:
    datagram = wire.token_datagram(NAME)
    assert datagram == bytes.fromhex("62746d52" + NAME)
    assert wire.parse_token(datagram) == NAME


@given(st.binary(max_size=64))
def test_other_datagrams_are_no_tokens(octets: bytes) -> None:
    token = wire.parse_token(octets)
    assert token is None or wire.token_datagram(token) == octets


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(1, 65535)
HEX = st.binary(min_size=16, max_size=16).map(bytes.hex)
LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
NUMBERS = st.integers(0, 0xFFFFFFFF)
MESSAGES = st.one_of(
    st.builds(wire.Connect, NUMBERS, LABELS, st.sampled_from(["mediated", "relayed"])),
    st.builds(wire.Resume, HEX, LABELS, PORTS),
    st.builds(wire.Punched, HEX),
    st.builds(wire.Open, HEX, LABELS, HEX, st.lists(PORTS, min_size=1, max_size=2).map(tuple)),
    st.builds(wire.Observed, PORTS, ADDRESSES, PORTS),
    st.builds(wire.Punch, HEX, ADDRESSES, PORTS),
    st.builds(wire.Ready, NUMBERS, HEX, st.none() | ADDRESSES, PORTS),
    st.builds(
        wire.Failed, NUMBERS, st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200)
    ),
    st.builds(wire.Ended, HEX),
)


@given(MESSAGES)
def test_round_trip(message: wire.Message) -> None:
    octets = wire.encode(message)
    assert wire.message_length(octets[:2]) == len(octets) - 2
    assert wire.decode(octets[2:], BOTH) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def taken_or_refused(octets: bytes) -> None:
    try:
        message = wire.decode(octets, BOTH)
    except wire.RendezvousError:
        return
    assert wire.decode(body(message), BOTH) == message


@given(st.binary(max_size=200))
def test_any_octets_are_taken_or_refused(octets: bytes) -> None:
    taken_or_refused(octets)


@given(MESSAGES, st.data())
def test_any_change_of_a_message_is_taken_or_refused(message: wire.Message, data: st.DataObject) -> None:
    values = json.loads(body(message))
    key = data.draw(st.sampled_from(sorted(values)))
    values[key] = data.draw(JSON)
    taken_or_refused(json.dumps(values).encode())


@pytest.mark.parametrize(
    "values",
    [
        {"type": "connect", "number": 1, "peer": "imac.evil", "way": "relayed"},
        {"type": "connect", "number": 1, "peer": "imac\n", "way": "relayed"},
        {"type": "connect", "number": True, "peer": "imac", "way": "relayed"},
        {"type": "connect", "number": 1, "peer": "imac", "way": "direct"},
        {"type": "connect", "number": 1, "peer": "imac", "way": "relayed", "more": 1},
        {"type": "connect", "number": 1, "peer": "imac"},
        {"type": "resume", "flow": NAME.upper(), "peer": "imac", "port": 40000},
        {"type": "resume", "flow": NAME, "peer": "imac", "port": 0},
        {"type": "punch", "flow": NAME, "address": "fe80::1%eth0", "port": 1},
        {"type": "punch", "flow": NAME, "address": 3405803777, "port": 1},
        {"type": "open", "flow": NAME, "peer": "", "token": NAME, "ports": [1, 2, 3]},
        {"type": "open", "flow": NAME, "peer": "", "token": NAME, "ports": "12"},
        {"type": ["ping"]},
        {},
    ],
)
def test_wrong_members_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(wire.RendezvousError):
        wire.decode(json.dumps(values).encode(), BOTH)


def test_a_host_does_not_speak_as_a_relay() -> None:
    with pytest.raises(wire.RendezvousError):
        wire.decode(body(wire.Pong()), wire.FROM_HOST)
    with pytest.raises(wire.RendezvousError):
        wire.decode(body(wire.Ping()), wire.FROM_RELAY)


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(wire.RendezvousError):
        wire.decode(b"[" * 100_000, BOTH)


@pytest.mark.parametrize("prefix", [b"\x00\x00", b"\x02\x01", b"\xff\xff"])
def test_lengths_out_of_bounds_are_refused(prefix: bytes) -> None:
    with pytest.raises(wire.RendezvousError):
        wire.message_length(prefix)


def test_a_message_too_long_is_not_sent() -> None:
    with pytest.raises(wire.RendezvousError):
        wire.encode(wire.Failed(1, "x" * 600))


def test_ipv6_addresses_are_plain_text() -> None:
    assert b'"2001:db8::1"' in wire.encode(wire.Punch(NAME, IPv6Address("2001:db8::1"), 4500))
