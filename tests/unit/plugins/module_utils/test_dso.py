# SPDX-License-Identifier: GPL-3.0-or-later
"""DSO messages against octets written out from the figures of RFC 8490, and against noise."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Message, Tlv
from hypothesis import given
from hypothesis import strategies as st

# Figure of section 5.4: message ID, QR/opcode 6/Z/RCODE, four counts; then section 7.1: type 1, 8 octets, two times.
KEEPALIVE_REQUEST = bytes.fromhex("1234 3000 0000 0000 0000 0000 0001 0008 00003a98 0036ee80")
KEEPALIVE_RESPONSE = bytes.fromhex("1234 b000 0000 0000 0000 0000 0001 0008 ffffffff 00002710")
# Section 7.2: unidirectional, SERVFAIL, type 2, 4 octets, one minute.
RETRY_DELAY = bytes.fromhex("0000 3002 0000 0000 0000 0000 0002 0004 0000ea60")
# Section 7.3: the least padding there is, after a Keepalive.
PADDED = bytes.fromhex("0001 3000 0000 0000 0000 0000 0001 0008 00003a98 00003a98 0003 0000")
# Section 5.4.5: RCODE 11 and nothing else.
DSOTYPENI = bytes.fromhex("00ff b00b 0000 0000 0000 0000")


def test_keepalive_is_the_figure_of_the_rfc() -> None:
    wire = dso.encode([dso.keepalive(Keepalive(15_000, 3_600_000))], number=0x1234)
    assert wire == KEEPALIVE_REQUEST
    message = dso.parse(wire)
    assert (message.id, message.response, message.unidirectional) == (0x1234, False, False)
    assert dso.parse_keepalive(message.primary) == Keepalive(15_000, 3_600_000)
    assert dso.dictated(dso.parse(KEEPALIVE_RESPONSE)) == Keepalive(dso.FOREVER_MS, 10_000)


def test_retry_delay_is_the_figure_of_the_rfc() -> None:
    assert dso.encode([dso.retry_delay(60_000)], rcode=dso.Rcode.SERVFAIL) == RETRY_DELAY
    message = dso.parse(RETRY_DELAY)
    assert (message.unidirectional, message.rcode, dso.parse_retry_delay(message)) == (True, 2, 60_000)


def test_response_of_an_unknown_type_is_a_bare_header() -> None:
    assert dso.encode([], number=0xFF, response=True, rcode=dso.Rcode.DSOTYPENI) == DSOTYPENI
    message = dso.parse(DSOTYPENI)
    assert (message.response, message.rcode, message.tlvs) == (True, dso.Rcode.DSOTYPENI, ())


def test_padding_fills_up_to_a_block_and_is_recognised() -> None:
    assert dso.parse(PADDED).padded
    assert not dso.parse(KEEPALIVE_REQUEST).padded
    wire = dso.encode([dso.keepalive(Keepalive(0, 10_000))], number=1, block=dso.CLIENT_BLOCK)
    assert (len(wire), dso.parse(wire).padded) == (128, True)
    # Where four octets of TLV just fill the block, the padding is empty.
    assert dso.encode([Tlv(0x40, bytes(108))], number=1, block=128)[-4:] == bytes.fromhex("0003 0000")


def test_a_tlv_knows_where_it_stands() -> None:
    assert [tlv.offset for tlv in dso.parse(PADDED).tlvs] == [16, 28]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        ("", "no header"),
        ("1234 3000 0000 0000 0000 00", "no header"),
        ("0000 b000 0000 0000 0000 0000", "message ID 0"),  # section 5.4.1
        ("0000 3000 0001 0000 0000 0000 0041 0000", "counts"),  # unidirectional: no FORMERR may be sent
        ("1234 b000 0000 0000 0000 0001", "counts"),
        ("1234 3000 0000 0000 0000 0000", "no TLV"),  # section 5.4.2
        ("1234 3000 0000 0000 0000 0000 0001 00", "cut off"),
        ("1234 3000 0000 0000 0000 0000 0001 0009 00003a98 00003a98", "exceeds"),
    ],
)
def test_what_breaks_the_protocol_is_fatal(octets: str, words: str) -> None:
    with pytest.raises(dso.FatalError, match=words):
        dso.parse(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        ("1234 b000 0000 0000 0000 0000", "0 Keepalive"),
        ("1234 b000 0000 0000 0000 0000 0001 0004 00003a98", "4 octets"),
        ("1234 b000 0000 0000 0000 0000 0001 0008 00000000 0000270f", "9999 ms"),  # section 6.5.2
        ("1234 b000 0000 0000 0000 0000 0001 0008 00000000 00002710 0001 0008 00000000 00002710", "2 Keepalive"),
        ("1234 b000 0000 0000 0000 0000 0003 0000 0001 0008 00000000 00002710", "1 Keepalive"),  # it has to be first
    ],
)
def test_timeouts_that_a_server_must_not_dictate(octets: str, words: str) -> None:
    with pytest.raises(dso.FatalError, match=words):
        dso.dictated(dso.parse(bytes.fromhex(octets)))


def test_a_retry_delay_of_another_size_is_fatal() -> None:
    with pytest.raises(dso.FatalError, match="2 octets"):
        dso.parse_retry_delay(dso.parse(bytes.fromhex("0000 3000 0000 0000 0000 0000 0002 0002 0001")))


def test_a_request_that_counts_records_gets_formerr() -> None:
    with pytest.raises(dso.RequestError) as caught:
        dso.parse(bytes.fromhex("1234 3000 0001 0000 0000 0000 0001 0008 00003a98 00003a98"))
    assert (caught.value.id, caught.value.rcode) == (0x1234, dso.Rcode.FORMERR)


def test_another_opcode_is_told_apart() -> None:
    with pytest.raises(dso.NotDsoError) as caught:
        dso.parse(bytes.fromhex("1234 0100 0001 0000 0000 0000 00 0001 0001"))
    assert (caught.value.id, caught.value.opcode, caught.value.response) == (0x1234, 0, False)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(dso.DsoError, match="TLV of 65536"):
        dso.encode([Tlv(1, bytes(65536))])
    with pytest.raises(dso.DsoError, match="message of"):
        dso.encode([Tlv(1, bytes(65535))])


@given(st.binary(max_size=80))
def test_noise_raises_only_typed_errors(data: bytes) -> None:
    with contextlib.suppress(dso.DsoError):
        dso.parse(data)


@given(st.binary(max_size=60))
def test_noise_behind_a_header_raises_only_typed_errors(data: bytes) -> None:
    with contextlib.suppress(dso.DsoError):
        message = dso.parse(KEEPALIVE_REQUEST[:12] + data)
        assert dso.encode(message.tlvs, number=message.id) == message.wire
        dso.parse_retry_delay(message)
        dso.dictated(message)


@given(
    st.lists(st.builds(Tlv, st.integers(0, 0xFFFF), st.binary(max_size=40)), min_size=1, max_size=5),
    st.integers(1, 0xFFFF),
    st.booleans(),
    st.integers(0, 15),
    st.sampled_from([0, dso.CLIENT_BLOCK, dso.SERVER_BLOCK]),
)
def test_every_message_comes_back(tlvs: list[Tlv], number: int, response: bool, rcode: int, block: int) -> None:
    wire = dso.encode(tlvs, number, response, rcode, block)
    message: Message = dso.parse(wire)
    assert (message.id, message.response, message.rcode) == (number, response, rcode)
    shown = [(tlv.type, tlv.data) for tlv in message.tlvs[: len(tlvs)]]
    assert shown == [(tlv.type, tlv.data) for tlv in tlvs]
    assert not block or len(wire) % block == 0
