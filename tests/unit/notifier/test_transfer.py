# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to transfers, from RFC 1995's example on: what is in them, and what is none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import dns.message
import dns.name
import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadTransferError
from notifier.transfer import Transfer, is_newer

if TYPE_CHECKING:
    from notifier.content import Record

ZONE = dns.name.from_text("jain.ad.jp.")


def soa(serial: int) -> str:
    return f"c00c 0006 0001 00000000 001a 026e73c00c 00 {serial:08x} 00000258 00000258 0036ee80 00093a80"


# The incremental answer of RFC 1995 section 7, put down by hand: from serial 1 (nezu goes, jain-bb comes) over 2 to 3.
GOLDEN = bytes.fromhex(
    "beef 8400 0001 000b 0000 0000"
    "04 6a61696e 02 6164 02 6a70 00 00fb 0001"  # jain.ad.jp. IXFR IN
    + soa(3)
    + soa(1)
    + "04 6e657a75 c00c 0001 0001 00000000 0004 85458805"  # nezu A 133.69.136.5
    + soa(2)
    + "07 6a61696e2d6262 c00c 0001 0001 00000000 0004 85458804"  # jain-bb A 133.69.136.4
    + "07 6a61696e2d6262 c00c 0001 0001 00000000 0004 c029c502"  # jain-bb A 192.41.197.2
    + soa(2)
    + "07 6a61696e2d6262 c00c 0001 0001 00000000 0004 85458804"
    + soa(3)
    + "07 6a61696e2d6262 c00c 0001 0001 00000000 0004 85458803"  # jain-bb A 133.69.136.3
    + soa(3)
)


def records(wire: bytes) -> list[Record]:
    message = dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True)
    return [(rrset.name, rrset.ttl, rdata) for rrset in message.answer for rdata in rrset]


def record(text: str) -> Record:
    name, rdtype, rest = text.split(" ", 2)
    if rdtype == "SOA":
        rest = f"ns. root. {rest} 3600 600 1209600 60"
    return dns.name.from_text(name, ZONE), 60, dns.rdata.from_text("IN", rdtype, rest)


def texts(taken: tuple[Record, ...]) -> list[str]:
    return [f"{name.relativize(ZONE)} {str(rdata).split(' 600 ')[0]}" for name, _, rdata in taken]


def test_the_example_of_rfc_1995() -> None:
    transfer = Transfer(ZONE, 1)
    transfer.feed(records(GOLDEN))
    assert transfer.done
    assert transfer.content is None
    assert [(step.before, step.after, texts(step.removed), texts(step.added)) for step in transfer.steps] == [
        (
            1,
            2,
            ["@ ns.jain.ad.jp. . 1", "nezu 133.69.136.5"],
            ["@ ns.jain.ad.jp. . 2", "jain-bb 133.69.136.4", "jain-bb 192.41.197.2"],
        ),
        (2, 3, ["@ ns.jain.ad.jp. . 2", "jain-bb 133.69.136.4"], ["@ ns.jain.ad.jp. . 3", "jain-bb 133.69.136.3"]),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_in_messages_of_any_size(size: int) -> None:
    transfer, taken = Transfer(ZONE, 1), records(GOLDEN)
    for start in range(0, len(taken), size):
        assert not transfer.done
        transfer.feed(taken[start : start + size])
    assert transfer.done
    assert len(transfer.steps) == 2


@pytest.mark.parametrize("asked", [None, 7])
def test_a_whole_zone(asked: int | None) -> None:
    transfer = Transfer(ZONE, asked)
    transfer.feed([record("@ SOA 9")])
    assert not transfer.done
    transfer.feed([record("a A 192.0.2.1"), record("@ SOA 9")])
    assert transfer.done
    assert transfer.content is not None
    assert transfer.content.serial == 9
    assert sorted(str(each.name.relativize(ZONE)) for each in transfer.content) == ["@", "a"]


def test_a_zone_with_nothing_but_its_soa() -> None:
    transfer = Transfer(ZONE, None)
    transfer.feed([record("@ SOA 9"), record("@ SOA 9")])
    assert transfer.content is not None


@pytest.mark.parametrize(("asked", "serial"), [(9, 9), (9, 8), (1, 0xFFFFFFFF)])
def test_nothing_new(asked: int, serial: int) -> None:
    transfer = Transfer(ZONE, asked)
    transfer.feed([record(f"@ SOA {serial}")])
    assert transfer.done
    assert transfer.serial == serial
    assert not transfer.steps
    assert transfer.content is None


@pytest.mark.parametrize(
    "lines",
    [
        ["a A 192.0.2.1"],
        ["a SOA 9"],
        ["@ SOA 9", "a A 192.0.2.1", "@ SOA 8"],
        ["@ SOA 9", "@ SOA 2"],
        ["@ SOA 9", "@ SOA 1", "@ SOA 2", "@ SOA 3"],
        ["@ SOA 9", "@ SOA 1", "@ SOA 9", "@ SOA 9", "a A 192.0.2.1"],
        ["@ SOA 9", "other.example. A 192.0.2.1"],
    ],
)
def test_what_is_no_transfer(lines: list[str]) -> None:
    transfer = Transfer(ZONE, 1)
    with pytest.raises(BadTransferError):
        transfer.feed(map(record, lines))


@given(st.lists(st.sampled_from(["@ SOA 1", "@ SOA 2", "@ SOA 3", "a A 192.0.2.1", "b A 192.0.2.2"]), max_size=12))
def test_any_order_of_records_is_taken_or_refused(lines: list[str]) -> None:
    for asked in (None, 1):
        transfer = Transfer(ZONE, asked)
        with contextlib.suppress(BadTransferError):
            transfer.feed(map(record, lines))
            if transfer.done and transfer.content is None and transfer.serial != asked:
                assert transfer.steps[0].before == asked
                assert transfer.steps[-1].after == transfer.serial


def test_serials_are_a_circle() -> None:
    assert is_newer(0, 0xFFFFFFFF)
    assert is_newer(2, 1)
    assert not is_newer(1, 1)
    assert not is_newer(0xFFFFFFFF, 0)
    assert not is_newer(0x80000000, 0)
