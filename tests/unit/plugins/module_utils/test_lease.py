# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime

import dns.edns
import dns.message
import dns.tsig
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import lease, names
from ansible_collections.btmm.fleet.plugins.module_utils.lease import InvalidLease, Lease, Trace
from hypothesis import given
from hypothesis import strategies as st

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("imac.bob.members.example.", bytes(32), "hmac-sha256")
TRACE = Trace(datetime(2026, 11, 21, 8, 45, 2, tzinfo=UTC), 7200)

# Written out from RFC 9664 section 4 and RFC 6891 section 6.1.2: an UPDATE for the zone, one prerequisite-free AAAA,
# and an OPT whose one option is UPDATE-LEASE. 1c20 hex is 7200, 127500 is 1209600 (14 days).
HEADER = "1234 2800 0001 0000 0001 0001"
ZONE_SECTION = "03626f62 076d656d62657273 076578616d706c65 00 0006 0001"
AAAA = "04696d6163 c00c 001c 0001 00000078 0010 fd12 3456 789a 0000 0001 0002 0003 0004"
OPT = "00 0029 04d0 00000000"
VECTORS = [
    (Lease(7200), "0008 0002 0004 00001c20"),
    (Lease(7200, 1209600), "000c 0002 0008 00001c20 00127500"),
    (Lease(0), "0008 0002 0004 00000000"),
    (Lease(0xFFFFFFFF, 0xFFFFFFFF), "000c 0002 0008 ffffffff ffffffff"),
]


@pytest.mark.parametrize(("asked", "option"), VECTORS)
def test_an_update_with_a_lease_octet_by_octet(asked: Lease, option: str) -> None:
    message = dns.update.UpdateMessage(ZONE, id=0x1234)
    message.add("imac", 120, "AAAA", "fd12:3456:789a:0:1:2:3:4")
    lease.ask(message, asked)
    wire = bytes.fromhex(f"{HEADER} {ZONE_SECTION} {AAAA} {OPT} {option}")
    assert message.to_wire() == wire
    assert lease.told(dns.message.from_wire(wire)) == asked


def test_the_signature_covers_the_lease_and_stays_last() -> None:
    message = dns.update.UpdateMessage(ZONE)
    lease.ask(message, Lease(7200))
    message.use_tsig(KEY)
    wire = message.to_wire()
    assert lease.told(dns.message.from_wire(wire, keyring=KEY)) == Lease(7200)
    forged = wire.replace(bytes.fromhex("0002000400001c20"), bytes.fromhex("0002000400015180"))
    assert forged != wire
    with pytest.raises(dns.tsig.BadSignature):
        dns.message.from_wire(forged, keyring=KEY)


@pytest.mark.parametrize("data", [b"", bytes(3), bytes(5), bytes(9)])
def test_other_lengths_are_no_lease(data: bytes) -> None:
    with pytest.raises(InvalidLease, match=f"not {len(data)}"):
        Lease.from_wire(data)
    answer = dns.message.make_response(dns.update.UpdateMessage(ZONE))
    answer.use_edns(0, options=[dns.edns.GenericOption(lease.OPTION, data)])
    assert lease.granted(answer, Lease(7200)) == Lease(7200)


def test_what_the_server_tells_holds_within_the_limits() -> None:
    answer = dns.message.make_response(dns.update.UpdateMessage(ZONE))
    assert lease.granted(answer, Lease(7200)) == Lease(7200)
    for told, held in (
        (Lease(3600), Lease(3600)),
        (Lease(1), Lease(30)),
        (Lease(1 << 31, 1 << 31), Lease(86400, 604800)),
    ):
        lease.ask(answer, told)
        assert lease.granted(answer, Lease(7200)) == held


@given(st.integers(min_value=lease.MINIMUM_S, max_value=lease.MAXIMUM_S))
def test_a_refresh_is_due_after_80_to_85_percent(seconds: int) -> None:
    assert 0.80 * seconds <= lease.refresh_after(Lease(seconds)) <= 0.85 * seconds


@given(st.binary(max_size=12))
def test_any_octets_are_a_lease_or_are_told(data: bytes) -> None:
    try:
        read = Lease.from_wire(data)
    except InvalidLease:
        assert len(data) not in {4, 8}
    else:
        assert read.to_wire() == data


def test_a_trace_reads_as_it_was_written() -> None:
    assert TRACE.to_strings() == ("refreshed=2026-11-21T08:45:02Z", "lease=7200")
    assert Trace.from_strings([b"refreshed=2026-11-21T08:45:02Z", b"lease=7200"]) == TRACE
    assert Trace.from_strings([b"LEASE=7200", b"lease=1", b"x", b"Refreshed=2026-11-21T08:45:02Z"]) == TRACE


@pytest.mark.parametrize(
    "strings",
    [
        [],
        [b""],
        [b"lease=7200"],
        [b"refreshed=2026-11-21T08:45:02Z"],
        [b"refreshed=2026-02-30T08:45:02Z", b"lease=1"],
        [b"refreshed=2026-11-21 08:45:02Z", b"lease=1"],
        [b"refreshed=2026-11-21T08:45:02+01:00", b"lease=1"],
        [b"refreshed=2026-11-21T08:45:02Z", b"lease=-1"],
        [b"refreshed=2026-11-21T08:45:02Z", b"lease=1e9"],
        [b"refreshed=\xd9\xa2026-11-21T08:45:02Z", b"lease=1"],
    ],
)
def test_strings_that_are_no_trace(strings: list[bytes]) -> None:
    with pytest.raises(InvalidLease):
        Trace.from_strings(strings)


@given(st.lists(st.binary(max_size=40) | st.just(b"lease=60") | st.just(b"refreshed=9999-12-31T23:59:59Z"), max_size=4))
def test_any_strings_are_a_trace_or_are_told(strings: list[bytes]) -> None:
    try:
        trace = Trace.from_strings(strings)
    except InvalidLease:
        return
    assert Trace.from_strings([string.encode() for string in trace.to_strings()]) == trace


def test_a_lease_ends_no_sooner_than_the_floor_and_no_later_than_a_day() -> None:
    begin = TRACE.refreshed
    assert (TRACE.ends() - begin).total_seconds() == 7200
    assert (Trace(begin, 60).ends(1800) - begin).total_seconds() == 1800
    assert (Trace(begin, 1 << 32).ends() - begin).total_seconds() == 86400
