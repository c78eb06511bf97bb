# SPDX-License-Identifier: GPL-3.0-or-later
"""NOTIFY in: one from the RFC, what is refused, and what octets do that nobody meant to be one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadNotifyError
from notifier.notified import MAX_CONNECTIONS, Listener, Notice, parse

ZONE = dns.name.from_text("example.")
KEY = dns.tsig.Key("notifier.example.", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "hmac-sha256")
KEYRING = {KEY.name: KEY}
ADDRESS = "127.0.0.1"
# RFC 1996 sections 3.7 and 4.1, put down by hand: a NOTIFY with the new SOA as a hint.
GOLDEN = bytes.fromhex(
    "beef"  # ID
    "2400"  # QR 0, opcode 4 (NOTIFY), AA
    "0001 0001 0000 0000"  # one question, one answer
    "07 6578616d706c65 00 0006 0001"  # example. SOA IN
    "c00c 0006 0001 00000e10 0020"  # example. SOA IN, TTL 3600, 32 octets
    "02 6e73 c00c 04 726f6f74 c00c"  # ns.example. root.example.
    "fffffffe 00000e10 00000258 00127500 0000003c"  # serial, refresh, retry, expire, minimum
)


def notify(zone: str = "example.", key: dns.tsig.Key | None = None, rdtype: str = "SOA", rdclass: str = "IN") -> bytes:
    message = dns.message.make_query(zone, rdtype, rdclass, flags=dns.flags.AA)
    message.set_opcode(dns.opcode.NOTIFY)
    if key:
        message.use_tsig(key)
    return message.to_wire()


def test_the_golden_one() -> None:
    notice = parse(GOLDEN, {})
    assert (notice.zone, notice.serial, notice.signed) == (ZONE, 0xFFFFFFFE, False)


def test_one_that_is_signed() -> None:
    notice = parse(notify(key=KEY), KEYRING)
    assert (notice.zone, notice.serial, notice.signed) == (ZONE, None, True)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        GOLDEN[:11],
        GOLDEN[:-1],
        GOLDEN[:2] + b"\xa4\x00" + GOLDEN[4:],  # an answer
        GOLDEN[:2] + b"\x00\x00" + GOLDEN[4:],  # a query
        GOLDEN[:4] + b"\x00\x00\x00\x00\x00\x00\x00\x00",  # no question
        notify(rdtype="NS"),
        notify(rdclass="CH"),
        notify(key=dns.tsig.Key(KEY.name, "c2VjcmV0c2VjcmV0c2VjcmV0", "hmac-sha256")),
        notify(key=dns.tsig.Key("other.example.", KEY.secret, "hmac-sha256")),
    ],
    ids=["empty", "header", "cut", "answer", "query", "no question", "type", "class", "secret", "key"],
)
def test_what_is_none(wire: bytes) -> None:
    with pytest.raises(BadNotifyError):
        parse(wire, KEYRING)


@given(st.binary(max_size=200))
def test_octets_raise_nothing_else(wire: bytes) -> None:
    with contextlib.suppress(BadNotifyError):
        parse(wire, KEYRING)


@given(st.data())
def test_damaged_ones_raise_nothing_else(data: st.DataObject) -> None:
    wire = bytearray(data.draw(st.sampled_from([GOLDEN, notify(key=KEY)])))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadNotifyError):
        parse(bytes(wire[: data.draw(st.integers(0, len(wire)))]), KEYRING)


@contextlib.asynccontextmanager
async def listening(*sources: str) -> AsyncIterator[tuple[Listener, list[Notice]]]:
    notices: list[Notice] = []

    def take(notice: Notice) -> bool:
        notices.append(notice)
        return bool(notice.zone == ZONE)

    listener = Listener(lambda: KEYRING, lambda: sources, take)
    await listener.async_start(ADDRESS, 0)
    try:
        yield listener, notices
    finally:
        listener.stop()


class Sender(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.answer.set_result(data)


async def async_udp(port: int, wire: bytes) -> bytes:
    transport, sender = await asyncio.get_running_loop().create_datagram_endpoint(Sender, remote_addr=(ADDRESS, port))
    transport.sendto(wire)
    try:
        return await asyncio.wait_for(sender.answer, 1)
    finally:
        transport.close()


async def async_tcp(port: int, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    with contextlib.closing(writer):
        writer.write(len(wire).to_bytes(2, "big") + wire)
        async with asyncio.timeout(1):
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


@pytest.mark.parametrize("send", [async_udp, async_tcp])
async def test_is_answered_and_signed(send: Callable[[int, bytes], Awaitable[bytes]]) -> None:
    async with listening(ADDRESS) as (listener, notices):
        question = dns.message.from_wire(wire := notify(key=KEY), keyring=KEYRING)
        answer = dns.message.from_wire(await send(listener.port, wire), keyring=KEYRING, request_mac=question.mac)
        assert (answer.opcode(), answer.rcode(), answer.had_tsig) == (dns.opcode.NOTIFY, dns.rcode.NOERROR, True)
        assert answer.flags & dns.flags.AA
        assert [notice.signed for notice in notices] == [True]


async def test_another_zone_is_not_ours() -> None:
    async with listening(ADDRESS) as (listener, _):
        answer = dns.message.from_wire(await async_udp(listener.port, notify("other.")))
        assert answer.rcode() == dns.rcode.NOTAUTH


async def test_others_are_not_even_answered() -> None:
    async with listening("203.0.113.10") as (listener, notices):
        with pytest.raises(TimeoutError):
            await async_udp(listener.port, notify(key=KEY))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await async_tcp(listener.port, notify(key=KEY))
        assert notices == []
        assert listener.ignored == 2


async def test_connections_that_say_nothing_are_few() -> None:
    async with listening(ADDRESS) as (listener, notices):
        streams = [await asyncio.open_connection(ADDRESS, listener.port) for _ in range(MAX_CONNECTIONS + 1)]
        assert await asyncio.wait_for(streams[-1][0].read(), 1) == b""
        streams[0][1].close()
        await asyncio.sleep(0.05)
        await async_tcp(listener.port, notify())
        assert len(notices) == 1
        for _, writer in streams:
            writer.close()
