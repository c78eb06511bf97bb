# SPDX-License-Identifier: GPL-3.0-or-later
"""The stub on the wire: both transports, truncation, limits, and noise."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher import stub as stub_module
from watcher.errors import LinkError
from watcher.stub import Stub, fit, parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dns.message import Message

GOLDEN = bytes.fromhex("1234 0100 0001 0000 0000 0000 04696d6163 03626f62 07 6578616d706c65 00 001c 0001")


async def _big(query: Message) -> Message:
    answer = dns.message.make_response(query)
    name = query.question[0].name
    if name.labels[0] == b"boom":
        raise RuntimeError("a fault of ours")
    if name.labels[0] == b"slow":
        await asyncio.sleep(60)
    count = 400 if name.labels[0] == b"big" else 1
    answer.answer.append(dns.rrset.from_text(name, 5, "IN", "PTR", *(f"host-{n}.example." for n in range(count))))
    return answer


@pytest.fixture
async def port() -> AsyncIterator[int]:
    stub = Stub(_big)
    # Port 0 is drawn twice, once for UDP and once for TCP: take what UDP got for both.
    yield await _start(stub)
    await stub.async_stop()


async def _start(stub: Stub) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = cast("int", probe.getsockname()[1])
    return await stub.async_start("127.0.0.1", free)


async def test_udp_and_tcp(port: int) -> None:
    query = dns.message.make_query("small.example", "PTR")
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        answer = await ask(query, "127.0.0.1", port=port, timeout=5)
        assert len(answer.answer[0]) == 1


async def test_what_is_too_large_for_udp_comes_by_tcp(port: int) -> None:
    for query in (
        dns.message.make_query("big.example", "PTR"),
        dns.message.make_query("big.example", "PTR", use_edns=0),
    ):
        answer, over_tcp = await dns.asyncquery.udp_with_fallback(query, "127.0.0.1", port=port, timeout=5)
        assert over_tcp
        assert len(answer.answer[0]) == 400


async def test_a_fault_of_ours_costs_one_answer(port: int) -> None:
    answer = await dns.asyncquery.udp(dns.message.make_query("boom.example", "PTR"), "127.0.0.1", port=port, timeout=5)
    assert answer.rcode() == dns.rcode.SERVFAIL
    await test_udp_and_tcp(port)


async def test_noise_is_dropped_and_the_server_lives(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for noise in (b"", b"\x00", GOLDEN[:11], b"\xff" * 600, GOLDEN[:2] + b"\x81" + GOLDEN[3:]):
            sock.sendto(noise, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x03abc\xff")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await test_udp_and_tcp(port)


async def test_several_questions_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    queries = {
        q.id: q for q in (dns.message.make_query("slow.example", "PTR"), dns.message.make_query("a.example", "PTR"))
    }
    for query in queries.values():
        writer.write(query.to_wire(prepend_length=True))
    size = int.from_bytes(await reader.readexactly(2), "big")
    answer = dns.message.from_wire(await reader.readexactly(size))
    assert str(queries[answer.id].question[0].name) == "a.example."
    writer.close()


async def test_an_idle_connection_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_module, "TCP_IDLE_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()


async def test_who_does_not_read_its_answers_is_cut_off(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
    writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 10)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that reads
    question = dns.message.make_query("big.example", "PTR").to_wire(prepend_length=True)

    async def async_flood() -> None:
        for _ in range(4000):
            writer.write(question)
            await writer.drain()
            await asyncio.sleep(0.001)

    with pytest.raises(ConnectionError):
        await async_flood()
    await test_udp_and_tcp(port)


async def test_connections_are_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_module, "MAX_STREAMS", 1)
    _, first = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0.05)
    reader, second = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    second.close()
    first.close()
    await asyncio.sleep(0.05)
    await test_udp_and_tcp(port)


async def test_more_than_the_limit_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_module, "MAX_RUNNING", 2)
    stub = Stub(_big)
    sent: list[bytes] = []
    for name in ("slow.example", "slow.example", "a.example"):
        stub.spawn(dns.message.make_query(name, "PTR").to_wire(), lambda _, wire: sent.append(wire))
    await asyncio.sleep(0.05)
    assert not sent
    await stub.async_stop()


async def test_the_port_is_free_again_at_once() -> None:
    first = Stub(_big)
    port = await _start(first)
    second = Stub(_big)
    with pytest.raises(LinkError, match=f"can't listen on 127.0.0.1 port {port}"):
        await second.async_start("127.0.0.1", port)
    await first.async_stop()
    third = Stub(_big)
    assert await third.async_start("127.0.0.1", port) == port
    await third.async_stop()


def test_golden_question() -> None:
    query = parse(GOLDEN)
    assert query is not None
    assert (query.id, str(query.question[0])) == (0x1234, "imac.bob.example. IN AAAA")


def test_an_answer_is_no_question() -> None:
    assert parse(GOLDEN[:2] + b"\x81" + GOLDEN[3:]) is None


@pytest.mark.parametrize(("payload", "limit"), [(None, 512), (512, 512), (100, 512), (1232, 1232), (4096, 1232)])
def test_udp_size(payload: int | None, limit: int) -> None:
    query = dns.message.make_query("a.example", "PTR", use_edns=payload is not None and 0, payload=payload or 0)
    assert fit(query, b"x" * limit) == b"x" * limit
    short = dns.message.from_wire(fit(query, b"x" * (limit + 1)))
    assert short.flags & dns.flags.TC
    assert short.id == query.id


@given(st.binary(max_size=200))
def test_fuzz_noise(data: bytes) -> None:
    parse(data)


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255), st.binary(max_size=40))
def test_fuzz_damaged_questions(at: int, value: int, tail: bytes) -> None:
    query = parse(GOLDEN[:at] + bytes([value]) + GOLDEN[at + 1 :] + tail)
    if query is not None:
        fit(query, b"x" * 2000)
