# SPDX-License-Identifier: GPL-3.0-or-later
"""LLQ messages against octets written out from the figures of RFC 8764, and against noise."""

from __future__ import annotations

import contextlib

import dns.edns
import dns.message
import dns.name
import dns.rdata
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import llq, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Error, Llq, LlqError, Opcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import REMOVE, Change, Question
from hypothesis import given
from hypothesis import strategies as st

ZONE = dns.name.from_text("bob.members.example")
SSH = Question(dns.name.from_text("_ssh._tcp", ZONE), 12)
QUESTION = "04 5f737368 04 5f746370 03 626f62 07 6d656d62657273 07 6578616d706c65 00 000c 0001"
# OPT: root, type 41, 1232 octets of UDP, no flags, 22 octets: option 1, 18 octets of data (RFC 8764 section 3.1).
OPT = "00 0029 04d0 00000000 0016 0001 0012"
SETUP = f"1234 0000 0001 0000 0000 0001 {QUESTION} {OPT} 0001 0001 0000 0000000000000000 00001c20"
CHALLENGE = f"1234 8400 0001 0000 0000 0001 {QUESTION} {OPT} 0001 0001 0000 a1b2c3d4e5f60718 00000e10"
# An event: one pointer is gone (TTL -1), one is new. The question's name begins at 0x0c.
EVENT = (
    f"0007 8400 0001 0002 0000 0001 {QUESTION}"
    "c00c 000c 0001 ffffffff 0004 01 61 c00c  c00c 000c 0001 00000078 0004 01 62 c00c"
    f"{OPT} 0001 0003 0000 a1b2c3d4e5f60718 00000000"
)
ACKNOWLEDGMENT = f"0007 8400 0000 0000 0000 0001 {OPT} 0001 0003 0000 a1b2c3d4e5f60718 00000000"
ID = 0xA1B2C3D4E5F60718


def pointer(label: str, ttl: int) -> Change:
    return Change(SSH.name, 12, ttl, dns.rdata.from_text("IN", "PTR", f"{label}.{SSH.name}"))


CHANGES = [pointer("a", REMOVE), pointer("b", 120)]


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def test_setup_and_challenge_are_the_figures_of_the_rfc() -> None:
    setup, challenge = Llq(Opcode.SETUP, lease=7200), Llq(Opcode.SETUP, ID, 3600)
    assert llq.encode(0x1234, [SSH], [setup]) == (octets(SETUP), 0)
    assert llq.encode(0x1234, [SSH], [challenge], response=True) == (octets(CHALLENGE), 0)
    parsed = llq.parse(octets(CHALLENGE))
    assert (parsed.response, parsed.questions, parsed.llqs, parsed.payload) == (True, (SSH,), (challenge,), 1232)


def test_an_event_holds_what_came_and_went() -> None:
    (event,) = llq.encode_events(SSH, CHANGES, 512)
    assert llq.addressed(event, 7, ID) == octets(EVENT)
    parsed = llq.parse(octets(EVENT))
    assert parsed.changes == tuple(CHANGES)
    assert llq.acknowledgment(parsed, Llq(Opcode.EVENT, ID)) == octets(ACKNOWLEDGMENT)


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"])
def test_dnspython_reads_the_option_and_the_signature(algorithm: str) -> None:
    key = dns.tsig.Key("iMac.bob.members.example.", "AAECAwQFBgcICQoLDA0ODw==", algorithm)
    wire, mac = tsig.sign(octets(EVENT), key)
    assert len(wire) <= len(octets(EVENT)) + tsig.room(key)
    message = dns.message.from_wire(wire, keyring={key.name: key})
    assert (message.had_tsig, message.mac) == (True, mac)
    (option,) = message.options
    assert isinstance(option, dns.edns.GenericOption)
    assert llq.parse_option(option.data) == Llq(Opcode.EVENT, ID)
    assert option.to_wire() == Llq(Opcode.EVENT, ID).to_option().to_wire()
    answer, _ = tsig.sign(octets(CHALLENGE), key, mac)
    assert dns.message.from_wire(answer, keyring={key.name: key}, request_mac=mac).had_tsig
    with pytest.raises(dns.tsig.BadSignature):
        dns.message.from_wire(answer, keyring={key.name: key}, request_mac=mac[::-1])


@pytest.mark.parametrize("room", [512, 700, 1232])
def test_events_keep_within_the_room(room: int) -> None:
    changes = [Change(SSH.name, 16, 60, dns.rdata.from_text("IN", "TXT", "x" * 200 + str(n))) for n in range(20)]
    too_large = Change(SSH.name, 16, 60, dns.rdata.from_text("IN", "TXT", " ".join(["x" * 250] * 6)))
    events = llq.encode_events(SSH, [*changes[:7], too_large, *changes[7:]], room)
    assert max(map(len, events)) <= room
    assert [change for event in events for change in llq.parse(event).changes] == changes
    assert not any(llq.parse(event).truncated for event in events)


def test_an_answer_that_leaves_something_out_says_so() -> None:
    wire, count = llq.encode(1, [SSH], [Llq(Opcode.SETUP, ID)], CHANGES, room=100, response=True)
    assert (count, llq.parse(wire).truncated, llq.parse(wire).changes) == (1, True, (CHANGES[0],))


def test_what_refuses_repeats_what_was_asked() -> None:
    asked = Llq(Opcode.REFRESH, 5, 7200, version=9)
    assert llq.refused(asked, Error.SERV_FULL, 60) == Llq(Opcode.REFRESH, 5, 60, Error.SERV_FULL)
    assert llq.refused(None, Error.FORMAT_ERR).error == Error.FORMAT_ERR


@pytest.mark.parametrize(
    "octets_",
    [
        "",
        SETUP[:-2],
        f"{SETUP} 00",
        SETUP.replace("0000 0001 04", "0000 0002 04"),  # a second additional record that is not there
        f"1234 0000 0000 0000 0000 0002 {2 * (OPT + ' 0001 0001 0000 0000000000000000 00001c20')}",
    ],
)
def test_malformed_messages_are_errors(octets_: str) -> None:
    with pytest.raises(LlqError):
        llq.parse(octets(octets_))


def test_an_option_of_a_wrong_size_is_told_apart_from_a_malformed_message() -> None:
    short = octets(SETUP.replace("0016 0001 0012", "0006 0001 0002").replace("0000 0000000000000000 00001c20", ""))
    assert llq.parse(short[:-2]).llqs == (None,)
    with pytest.raises(LlqError):
        llq.parse_option(b"x" * 17)


LLQS = st.builds(
    Llq,
    st.integers(0, 0xFFFF),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
)


@given(LLQS, st.integers(0, 0xFFFF), st.lists(st.sampled_from(CHANGES), max_size=4))
def test_what_is_encoded_is_read_again(made: Llq, number: int, changes: list[Change]) -> None:
    assert llq.parse_option(made.to_wire()) == made
    wire, count = llq.encode(number, [SSH], [made, made], changes)
    parsed = llq.parse(wire)
    assert (parsed.id, parsed.llqs, parsed.changes, count) == (number, (made, made), tuple(changes), len(changes))


@given(st.binary(max_size=200), st.sampled_from([SETUP, EVENT, CHALLENGE]), st.data())
def test_noise_is_an_error_and_nothing_else(noise: bytes, good: str, data: st.DataObject) -> None:
    with contextlib.suppress(LlqError):
        llq.parse(noise)
    damaged = bytearray(octets(good))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(LlqError):
        llq.parse(bytes(damaged))
