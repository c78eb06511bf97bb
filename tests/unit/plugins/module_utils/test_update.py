# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import hmac
from ipaddress import IPv4Address
from typing import Any

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, records, update
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.primary import SECRET

NOW = 1_700_000_000
ZONE = names.parse_zone("bob.members.example")
HOST = records.host_from_config(
    {
        "zone": "bob.members.example",
        "label": "imac",
        "title": "Bob's iMac",
        "ula": "fd12:3456:789a:0:1:2:3:4",
        "model": "iMac4,1",
        "services": [{"type": "ssh", "port": 22}],
    }
)
RECORDS = records.host_records(HOST, records.Reach((records.Endpoint(IPv4Address("203.0.113.101"), 61234),)))
KEY = dns.tsig.Key("imac.bob.members.example.", SECRET, "hmac-sha256")

# Checked against BIND 9.18, which takes both messages.
SIGNED_UPDATE = bytes.fromhex(
    "4242280000010000000e000103626f62076d656d62657273076578616d706c650000060001224175746f54756e6e656c2d30"
    "302d30312d30302d30322d30302d30332d30302d3034c00c000100ff000000000000c02500010001000000780004cb007165"
    "0b5f6175746f74756e6e656c045f75647004696d6163c00c002100ff000000000000c0640021000100000078003e000a0000"
    "ef32224175746f54756e6e656c2d30302d30312d30302d30322d30302d30332d30302d303403626f62076d656d6265727307"
    "6578616d706c6500c075001c00ff000000000000c075001c0001000000780010fd123456789a000000010002000300040a42"
    "6f62277320694d6163045f737368045f746370c00c002100ff000000000000c0f80021000100000078002000000000001604"
    "696d616303626f62076d656d62657273076578616d706c6500c0f8001000ff000000000000c0f80010000100001194000100"
    "c103000c0001000011940002c0f8095f7365727669636573075f646e732d7364045f756470c00c000c0001000011940002c1"
    "030a426f62277320694d61630c5f6465766963652d696e666fc108001000ff000000000000c1910010000100001194000e0d"
    "6d6f64656c3d694d6163342c31c07500fa00ff00000000003d0b686d61632d7368613235360000006553f100012c0020dfc1"
    "602bd8d59922a5d661c225abe49cae01adf976fbe3211d2d5a9fc6bd8bc0424200000000"
)
WITHDRAWAL = bytes.fromhex(
    "42432800000100000007000003626f62076d656d62657273076578616d706c650000060001224175746f54756e6e656c2d30"
    "302d30312d30302d30322d30302d30332d30302d3034c00c000100ff0000000000000b5f6175746f74756e6e656c045f7564"
    "7004696d6163c00c002100ff000000000000c065001c00ff0000000000000a426f62277320694d6163045f737368045f7463"
    "70c00c002100ff000000000000c082001000ff000000000000c08d000c00fe000000000002c0820a426f62277320694d6163"
    "0c5f6465766963652d696e666fc092001000ff000000000000"
)


# RFC 2136 section 2.4 and 2.5, written out: an AAAA that must be as it is told, an A that must not be there; then both
# are replaced. TTL is 0 and class NONE (fe) or IN in the prerequisites, class ANY (ff) in the deletions.
GUARDED = bytes.fromhex(
    "4244 2800 0001 0002 0004 0000 03626f62 076d656d62657273 076578616d706c65 00 0006 0001"
    "04696d6163 c00c 001c 0001 00000000 0010 fd123456789a00000000000000000001"
    "01 74 c00c 0001 00fe 00000000 0000"
    "c025 001c 00ff 00000000 0000"
    "c025 001c 0001 00000078 0010 fd123456789a00000000000000000002"
    "c046 0001 00ff 00000000 0000"
    "c046 0001 0001 00000078 0004 cb007101"
)


class Clock:
    """Stands in for the `time` of a module."""

    def __init__(self, now: int) -> None:
        self.now = now

    def time(self) -> int:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock(NOW)
    monkeypatch.setattr(dns.message, "time", stopped)
    monkeypatch.setattr(update, "time", stopped)
    return stopped


def lines(message: dns.update.UpdateMessage) -> list[str]:
    return message.to_text().partition(";UPDATE\n")[2].partition(";ADDITIONAL")[0].strip().splitlines()


def record(text: str) -> Record:
    return Record.from_text(text, ZONE)


def test_a_hosts_whole_set_is_one_signed_message_of_known_octets() -> None:
    message = update.host_update(ZONE, RECORDS)
    message.id = 0x4242
    message.use_tsig(KEY)
    assert message.to_wire() == SIGNED_UPDATE


def test_the_known_octets_parse_to_the_records() -> None:
    message = dns.message.from_wire(SIGNED_UPDATE, keyring=KEY)
    assert isinstance(message, dns.update.UpdateMessage)
    added = {Record(s.name, s.ttl, rdata).to_text() for s in message.update if s.deleting is None for rdata in s}
    assert added == {each.to_text() for each in RECORDS}


def test_prerequisites_and_replacement_octet_by_octet() -> None:
    wanted = [record("imac 120 AAAA fd12:3456:789a::2"), record("t 120 A 203.0.113.1")]
    message = update.change(ZONE, wanted)
    message.id = 0x4244
    update.require(message, wanted[0].name, dns.rdatatype.AAAA, [record("imac 60 AAAA fd12:3456:789a::1")])
    update.require(message, wanted[1].name, dns.rdatatype.A, [])
    assert message.to_wire() == GUARDED


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha384", "hmac-sha512"])
def test_the_signature_octet_by_octet(algorithm: str) -> None:
    message = update.withdraw(ZONE, RECORDS)
    message.id = 0x4243
    message.use_tsig(dns.tsig.Key("imac.bob.members.example.", SECRET, algorithm))
    wire = message.to_wire()
    assert wire[12 : len(WITHDRAWAL)] == WITHDRAWAL[12:]
    assert wire[10:12] == b"\x00\x01"
    # By hand from RFC 8945 section 4.3.3: the message, then the TSIG's variables.
    variables = (
        (KEY.name.to_wire() or b"")
        + bytes.fromhex("00ff00000000")
        + (dns.name.from_text(algorithm).to_wire() or b"")
        + NOW.to_bytes(6, "big")
        + bytes.fromhex("012c 0000 0000")
    )
    digest = hmac.digest(base64.b64decode(SECRET), WITHDRAWAL + variables, algorithm.removeprefix("hmac-"))
    assert message.mac == digest
    assert digest in wire


def test_withdrawal_leaves_what_other_hosts_rely_on() -> None:
    message = update.withdraw(ZONE, RECORDS)
    message.id = 0x4243
    assert message.to_wire() == WITHDRAWAL
    assert b"_services" not in WITHDRAWAL


def test_own_sets_are_replaced_and_shared_ones_only_added_to() -> None:
    message = update.change(ZONE, [record("a 120 A 1.2.3.4"), record("_ssh._tcp 4500 PTR a._ssh._tcp")])
    assert lines(message) == [
        "a.bob.members.example. ANY A",
        "a.bob.members.example. 120 IN A 1.2.3.4",
        "_ssh._tcp.bob.members.example. 4500 IN PTR a._ssh._tcp.bob.members.example.",
    ]


def test_a_set_of_two_is_deleted_once() -> None:
    message = update.change(ZONE, [record("a 120 A 1.2.3.4"), record("a 120 A 1.2.3.5")])
    assert sum("ANY" in line for line in lines(message)) == 1


def test_what_is_not_wanted_any_more_goes() -> None:
    previous = [record("old 120 A 1.2.3.4"), record("a 120 A 1.1.1.1"), record("_ssh._tcp 4500 PTR old._ssh._tcp")]
    message = update.host_update(ZONE, [record("a 120 A 1.2.3.4")], previous)
    assert lines(message) == [
        "old.bob.members.example. ANY A",
        "_ssh._tcp.bob.members.example. 0 NONE PTR old._ssh._tcp.bob.members.example.",
        "a.bob.members.example. ANY A",
        "a.bob.members.example. 120 IN A 1.2.3.4",
    ]


def test_a_shared_record_that_stays_is_not_deleted() -> None:
    pointer = record("_ssh._tcp 4500 PTR a._ssh._tcp")
    assert lines(update.host_update(ZONE, [pointer], [pointer])) == [pointer.to_text()]


def test_a_record_of_another_zone_is_refused() -> None:
    with pytest.raises(names.InvalidName, match="one message updates one zone"):
        update.host_update(ZONE, [Record.from_text("a.example. 1 A 1.2.3.4")])


def request() -> dns.update.UpdateMessage:
    message = update.host_update(ZONE, RECORDS)
    message.use_tsig(KEY)
    message.to_wire()
    return message


def answer(asked: dns.message.Message, code: dns.rcode.Rcode = dns.rcode.NOERROR, **tsig: Any) -> bytes:
    response = dns.message.make_response(asked)
    response.set_rcode(code)
    response.use_tsig(KEY, **tsig)
    response.request_mac = asked.mac or b""
    return response.to_wire()


def test_a_signed_answer_is_taken() -> None:
    asked = request()
    assert update.read_response(answer(asked), asked, "ns").rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        (dns.rcode.REFUSED, update.UpdateRefused, False),
        (dns.rcode.NOTAUTH, update.NotAuthoritative, False),
        (dns.rcode.NOTZONE, update.NotAuthoritative, False),
        (dns.rcode.SERVFAIL, update.ServerFailed, True),
        (dns.rcode.NXRRSET, update.PrerequisiteFailed, False),
        (dns.rcode.NXDOMAIN, update.PrerequisiteFailed, False),
        (dns.rcode.FORMERR, update.UpdateRejected, False),
        (dns.rcode.NOTIMP, update.UpdateRejected, False),
    ],
)
def test_each_code_has_its_error(code: dns.rcode.Rcode, kind: type[update.UpdateError], *, retryable: bool) -> None:
    asked = request()
    with pytest.raises(kind, match=r"^ns .*") as caught:
        update.read_response(answer(asked, code), asked, "ns")
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(("ahead", "sentence"), [(900, "900 s (ahead)"), (-400, "400 s (behind)")])
def test_a_wrong_clock_is_told_with_the_difference(clock: Clock, ahead: int, sentence: str) -> None:
    asked = request()
    other = (NOW - ahead).to_bytes(6, "big")
    wire = answer(asked, dns.rcode.NOTAUTH, tsig_error=dns.rcode.BADTIME, other_data=other)
    with pytest.raises(update.BadTime) as caught:
        update.read_response(wire, asked, "ns")
    assert caught.value.skew_s == ahead
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"), [(dns.rcode.BADKEY, "does not know the key imac"), (dns.rcode.BADSIG, "another secret")]
)
def test_a_wrong_key_is_told(error: dns.rcode.Rcode, words: str) -> None:
    asked = request()
    with pytest.raises(update.BadKey, match=words):
        update.read_response(answer(asked, dns.rcode.NOTAUTH, tsig_error=error), asked, "ns")


def test_answers_that_are_not_to_be_believed() -> None:
    asked = request()
    unsigned = dns.message.make_response(asked)
    unsigned.use_tsig(KEY)
    unsigned.tsig = None
    for wire in (unsigned.to_wire(), answer(request()), answer(asked)[:-1], b"", b"\0" * 12):
        with pytest.raises(update.BadAnswer, match=r"^ns sent"):
            update.read_response(wire, asked, "ns")


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_any_octets_give_an_answer_or_a_typed_error(noise: bytes, place: int, value: int) -> None:
    asked = request()
    good = answer(asked)
    mutated = bytearray(good)
    mutated[place % len(good)] = value
    for wire in (noise, bytes(mutated), good[: place % len(good)]):
        try:
            assert update.read_response(wire, asked, "ns").had_tsig
        except update.UpdateError:
            continue
