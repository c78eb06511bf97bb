# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS Push messages against octets written out from the figures of RFC 8765, and against noise."""

from __future__ import annotations

import contextlib

import dns.name
import dns.rdata
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.push import ANY, REMOVE, REMOVE_ALL, Change, Question
from hypothesis import given
from hypothesis import strategies as st

ZONE = dns.name.from_text("bob.members.example")
SSH = dns.name.from_text("_ssh._tcp", ZONE)
IMAC = dns.name.from_text("imac", ZONE)
ZONE_OCTETS = "03 626f62 07 6d656d62657273 07 6578616d706c65 00"
SSH_OCTETS = f"04 5f737368 04 5f746370 {ZONE_OCTETS}"
PUSH_HEADER = "0000 3000 0000 0000 0000 0000 0041"


def rdata(text: str) -> dns.rdata.Rdata:
    kind, _, value = text.partition(" ")
    return dns.rdata.from_text("IN", kind, value)


def parsed(octets: str) -> list[Change]:
    return push.parse_push(dso.parse(bytes.fromhex(octets)))


def test_subscribe_is_the_figure_of_the_rfc() -> None:
    # Section 6.2.1: header, type 0x40, length, name, type PTR, class IN.
    wire = bytes.fromhex(f"1234 3000 0000 0000 0000 0000 0040 0023 {SSH_OCTETS} 000c 0001")
    assert dso.encode([push.subscribe(Question(SSH, 12))], number=0x1234) == wire
    assert push.parse_subscribe(dso.parse(wire).primary) == Question(SSH, 12)


def test_unsubscribe_is_the_figure_of_the_rfc() -> None:
    wire = bytes.fromhex("0000 3000 0000 0000 0000 0000 0042 0002 1234")  # section 6.4.1
    assert dso.encode([push.unsubscribe(0x1234)]) == wire
    assert push.parse_unsubscribe(dso.parse(wire).primary) == 0x1234


def test_reconfirm_is_the_figure_of_the_rfc() -> None:
    # Section 6.5.1: name, type, class and rdata, whose length follows from that of the TLV.
    wire = bytes.fromhex(f"0000 3000 0000 0000 0000 0000 0043 0022 04 696d6163 {ZONE_OCTETS} 0001 0001 cb007114")
    record = rdata("A 203.0.113.20")
    assert dso.encode([push.reconfirm(IMAC, record)]) == wire
    assert push.parse_reconfirm(dso.parse(wire).primary) == (IMAC, record)


def test_push_holds_every_kind_of_change() -> None:
    # Section 6.3.1, figure and list of kinds. Names are compressed against the message: 0x10 is where the TLV's data
    # begins (the name _ssh._tcp.Z), 0x1a the zone's name, 0x45 "imac.Z".
    changes = [
        Change(SSH, 12, 4500, rdata("PTR iMac._ssh._tcp.bob.members.example.")),
        Change(IMAC, 28, REMOVE, rdata("AAAA fd00::1")),
        Change(IMAC, 1, REMOVE_ALL),
        Change(IMAC, ANY, REMOVE_ALL),
        Change(IMAC, ANY, REMOVE_ALL, rdclass=ANY),
    ]
    octets = (
        f"{PUSH_HEADER} 0075 {SSH_OCTETS} 000c 0001 00001194 0007 04 694d6163 c010"
        " 04 696d6163 c01a 001c 0001 ffffffff 0010 fd000000000000000000000000000001"
        " c040 0001 0001 fffffffe 0000"
        " c040 00ff 0001 fffffffe 0000"
        " c040 0000 00ff fffffffe 0000"
    )
    assert [wire.hex() for wire in push.encode_push(changes)] == [bytes.fromhex(octets).hex()]
    assert parsed(octets) == changes


def test_the_target_of_an_srv_is_compressed_as_section_6_3_1_asks() -> None:
    change = Change(SSH, 33, 120, rdata("SRV 0 0 22 imac.bob.members.example."))
    octets = f"{PUSH_HEADER} 0036 {SSH_OCTETS} 0021 0001 00000078 000d 0000 0000 0016 04 696d6163 c01a"
    assert push.encode_push([change]) == [bytes.fromhex(octets)]
    assert parsed(octets) == [change]


def test_a_ttl_without_a_meaning_is_skipped_and_what_follows_is_read() -> None:
    octets = f"{PUSH_HEADER} 004c {SSH_OCTETS} 0001 0001 80000000 0004 c0000201 c010 0001 0001 00000000 0004 c0000201"
    octets = octets.replace("004c", f"{len(bytes.fromhex(octets)) - 16:04x}")
    assert parsed(octets) == [Change(SSH, 1, 0, rdata("A 192.0.2.1"))]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "without any change"),
        ("00 0001 0001 fffffffe 0001 00", "has rdata"),
        ("00 00ff 0001 00000078 0000", "ANY type"),
        ("00 0001 00ff ffffffff 0004 c0000201", "ANY type"),
        ("00 0001 0001 00000078 0003 c00002", "none"),
        ("00 0001 0001 00000078 0004 c00002", "none"),
        ("00 0001 0001 00000078", "none"),
        ("c0ff 0001 0001 00000078 0004 c0000201", "none"),  # forward pointer
        ("41 0001", "none"),  # label type
    ],
)
def test_a_push_that_breaks_the_protocol_is_fatal(data: str, words: str) -> None:
    octets = bytes.fromhex(data)
    with pytest.raises(dso.FatalError, match=words):
        parsed(f"{PUSH_HEADER} {len(octets):04x} {data}")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "04 5f737368",
        f"{SSH_OCTETS} 000c",
        f"{SSH_OCTETS} 000c 0001 00",  # two questions are none
        "c010 000c 0001",  # no name to point at
    ],
)
def test_a_subscribe_that_is_no_question_is_fatal(data: str) -> None:
    with pytest.raises(dso.FatalError):
        push.parse_subscribe(dso.Tlv(push.Type.SUBSCRIBE, bytes.fromhex(data)))


@pytest.mark.parametrize("data", ["", "00", f"{SSH_OCTETS} 00ff 0001 00", f"{SSH_OCTETS} 0001 0001 c00002"])
def test_a_reconfirm_that_is_no_record_is_fatal(data: str) -> None:
    with pytest.raises(dso.FatalError):
        push.parse_reconfirm(dso.Tlv(push.Type.RECONFIRM, bytes.fromhex(data)))


def test_an_unsubscribe_of_another_size_is_fatal() -> None:
    with pytest.raises(dso.FatalError, match="3 octets"):
        push.parse_unsubscribe(dso.Tlv(push.Type.UNSUBSCRIBE, b"abc"))


def test_many_changes_fill_messages_up_to_the_limit() -> None:
    changes = [Change(SSH, 16, 120, rdata(f'TXT "{number:04} {"x" * 90}"')) for number in range(1000)]
    for block in (0, dso.SERVER_BLOCK):
        messages = push.encode_push(changes, block)
        assert all(len(wire) <= push.MAX_PUSH for wire in messages)
        assert all(len(wire) > push.MAX_PUSH - 200 for wire in messages[:-1])
        assert [change for wire in messages for change in push.parse_push(dso.parse(wire))] == changes
        assert all(dso.parse(wire).padded is bool(block) for wire in messages)


def test_a_record_too_large_for_any_push_is_left_out() -> None:
    large = dns.rdata.from_wire("IN", "TXT", (b"\xff" + b"x" * 255) * 64, 0, 64 * 256)
    others = [Change(IMAC, 1, 5, rdata("A 192.0.2.1")), Change(SSH, 1, 5, rdata("A 192.0.2.2"))]
    messages = push.encode_push([others[0], Change(SSH, 16, 5, large), others[1]])
    assert [change for wire in messages for change in push.parse_push(dso.parse(wire))] == others


def test_a_push_over_the_limit_is_fatal() -> None:
    with pytest.raises(dso.FatalError, match="larger than 16382"):
        push.parse_push(dso.parse(dso.encode([dso.Tlv(push.Type.PUSH, bytes(16_383 - 16))])))


@pytest.mark.parametrize(
    ("change", "question", "told"),
    [
        (Change(IMAC, 1, 5, rdata("A 192.0.2.1")), Question(IMAC, 1), True),
        (Change(IMAC, 1, 5, rdata("A 192.0.2.1")), Question(dns.name.from_text("IMAC", ZONE), ANY, ANY), True),
        (Change(IMAC, 1, 5, rdata("A 192.0.2.1")), Question(IMAC, 28), False),
        (Change(IMAC, 1, 5, rdata("A 192.0.2.1")), Question(SSH, 1), False),
        (Change(IMAC, 1, 5, rdata("A 192.0.2.1")), Question(IMAC, 1, 3), False),
        (Change(IMAC, 5, 5, rdata("CNAME a.")), Question(IMAC, 28), True),
        (Change(IMAC, 1, REMOVE_ALL), Question(IMAC, 28), False),
        (Change(IMAC, ANY, REMOVE_ALL), Question(IMAC, 28), True),
        (Change(IMAC, ANY, REMOVE_ALL, rdclass=ANY), Question(IMAC, 28), True),
    ],
)
def test_whom_a_change_concerns(change: Change, question: Question, told: bool) -> None:
    assert change.concerns(question) is told


@given(st.binary(max_size=120))
def test_noise_raises_only_the_fatal_error(data: bytes) -> None:
    for parse in (push.parse_subscribe, push.parse_unsubscribe, push.parse_reconfirm):
        with contextlib.suppress(dso.FatalError):
            parse(dso.Tlv(0, data))
    with contextlib.suppress(dso.FatalError):
        push.parse_push(dso.parse(dso.encode([dso.Tlv(push.Type.PUSH, data)])))


@given(
    st.integers(0, 120),
    st.sampled_from([1, 2, 6, 15, 16, 28, 33, 47, 50, 64, 255]),
    st.sampled_from([1, 3, 255]),
    st.sampled_from([0, REMOVE, REMOVE_ALL, 0x80000000]),
    st.binary(max_size=40),
)
def test_noise_as_rdata_raises_only_the_fatal_error(size: int, kind: int, rdclass: int, ttl: int, data: bytes) -> None:
    record = b"\0" + kind.to_bytes(2) + rdclass.to_bytes(2) + ttl.to_bytes(4) + size.to_bytes(2) + data
    with contextlib.suppress(dso.FatalError):
        push.parse_push(dso.parse(dso.encode([dso.Tlv(push.Type.PUSH, record)])))


LABELS = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
NAMES = LABELS.map(lambda labels: dns.name.Name((*labels, b"")))
RDATAS = st.one_of(
    st.ip_addresses(v=4).map(lambda a: rdata(f"A {a}")),
    st.ip_addresses(v=6).map(lambda a: rdata(f"AAAA {a}")),
    NAMES.map(lambda name: rdata(f"PTR {name}")),
    st.tuples(st.integers(0, 65535), NAMES).map(lambda both: rdata(f"SRV 1 2 {both[0]} {both[1]}")),
)
CHANGES = st.one_of(
    st.builds(
        lambda name, data, ttl: Change(name, data.rdtype, ttl, data),
        NAMES,
        RDATAS,
        st.integers(0, push.MAX_TTL) | st.just(REMOVE),
    ),
    st.builds(lambda name, kind: Change(name, kind, REMOVE_ALL), NAMES, st.integers(1, 255)),
)


@given(st.lists(CHANGES, min_size=1, max_size=12))
def test_every_change_comes_back(changes: list[Change]) -> None:
    messages = push.encode_push(changes)
    assert [change for wire in messages for change in push.parse_push(dso.parse(wire))] == changes


@given(NAMES, st.integers(0, 65535), st.integers(0, 65535))
def test_every_question_comes_back(name: dns.name.Name, rdtype: int, rdclass: int) -> None:
    question = Question(name, rdtype, rdclass)
    assert push.parse_subscribe(push.subscribe(question)) == question
