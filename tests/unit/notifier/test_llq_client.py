# SPDX-License-Identifier: GPL-3.0-or-later
"""The LLQ client at a real notifier beside a real BIND, by TLS and by UDP that loses what a test wants lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, cast

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import llq, llq_channel, llq_session, push_client, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Opcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushClient, Server
from ansible_collections.btmm.fleet.plugins.module_utils.tls import client_context

from tests.named import ADDRESS
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying
from tests.unit.notifier.test_llq_server import before, key, option
from tests.unit.notifier.test_push_client import Told, async_until
from tests.unit.notifier.test_push_server import update

TXT = 16
Verdict = Callable[[llq.Message, bool], bool]  # a message, and whether it goes to the server: whether it passes


@pytest.fixture(scope="module")
def notifier() -> Iterator[Notifier]:
    with notifying(hosts=("imac",)) as running:
        yield running


class Wire(asyncio.DatagramProtocol):
    """What is between client and server: passes, notes and loses."""

    def __init__(self, server: int, passes: Verdict) -> None:
        self.seen: list[llq.Message] = []
        self.octets = 0  # that are no messages
        self._server = (ADDRESS, server)
        self._passes = passes
        self._client: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def inject(self, wire: bytes) -> None:
        """Say something in the client's place."""
        self._transport.sendto(tsig.sign(wire, key())[0], self._server)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        onward = addr != self._server
        if onward:
            self._client = addr
        if len(data) == 1:
            self.octets += 1
            self._transport.sendto(data, self._server)
            return
        message = llq.parse(data)
        self.seen.append(message)
        if self._passes(message, onward):
            self._transport.sendto(data, self._server if onward else self._client)


@contextlib.asynccontextmanager
async def between(notifier: Notifier, passes: Verdict) -> AsyncIterator[tuple[Server, Wire]]:
    transport, wire = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Wire(notifier.ports.llq, passes), local_addr=(ADDRESS, 0)
    )
    try:
        yield Server(SERVER_NAME, (ADDRESS,), transport.get_extra_info("sockname")[1], "llq"), wire
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def following(notifier: Notifier, server: Server, *questions: Question) -> AsyncIterator[tuple[PushClient, Told]]:
    told = Told()

    async def find() -> list[Server]:
        return [server]

    client = PushClient(find, lambda: client_context(notifier.owner.ca, ["dot"]), told.changed, told.state, key())
    client.follow(questions)
    running = asyncio.create_task(client.async_run())
    try:
        yield client, told
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def question(label: str) -> Question:
    return Question(dns.name.from_text(label, ZONE), TXT)


@pytest.mark.parametrize("kind", ["llq", "llq-tls"])
async def test_answers_then_changes_then_nothing_more(notifier: Notifier, kind: Literal["llq", "llq-tls"]) -> None:
    port = notifier.ports.llq if kind == "llq" else notifier.ports.llq_tls
    server = Server(SERVER_NAME, (ADDRESS,), port, kind)
    before(notifier, f"add {kind} 60 TXT a", f"delete more{kind}")
    async with following(notifier, server, question(kind)) as (client, told):
        await async_until(lambda: told.states == [server], "a session")
        assert told.texts() == ['+"a"']
        update(notifier, f"delete {kind}", f"add {kind} 60 TXT b")
        await async_until(lambda: sorted(told.texts()[1:]) == ['+"b"', '-"a"'], "the change")
        told.changes.clear()
        client.follow([question(f"more{kind}")])
        await async_until(lambda: len(told.states) == 2, "the other question")
        update(notifier, f"add {kind} 60 TXT c", f"add more{kind} 60 TXT d")
        await async_until(lambda: bool(told.changes), "the other change")
        await asyncio.sleep(0.3)
        assert told.texts() == ['+"d"']


async def test_what_is_lost_comes_again(notifier: Notifier) -> None:
    lost: set[object] = set()

    def passes(message: llq.Message, onward: bool) -> bool:
        """Lose the first of each kind, to either end."""
        told_of = option(message)
        kind = (told_of.opcode, message.response, bool(told_of.id), bool(message.changes), onward)
        first = kind not in lost
        lost.add(kind)
        return not first

    before(notifier, "add loss 60 TXT a")
    async with between(notifier, passes) as (server, wire):
        async with following(notifier, server, question("loss")) as (_, told):
            await async_until(lambda: told.states == [server], "a session", 20)
            assert told.texts() == ['+"a"']
            update(notifier, "add loss 60 TXT b")
            # The event is lost, then its acknowledgment: it comes three times, and counts once.

            def events() -> int:
                return sum(bool(each.changes) and option(each).opcode == Opcode.EVENT for each in wire.seen)

            await async_until(lambda: events() == 3, "three times", 20)
            await asyncio.sleep(0.3)
            assert (events(), told.texts()) == (3, ['+"a"', '+"b"'])

        def last() -> tuple[int, int]:
            return option(wire.seen[-1]).opcode, option(wire.seen[-1]).lease

        await async_until(lambda: last() == (Opcode.REFRESH, 0), "it says good-bye")


async def test_a_lease_is_prolonged_in_time(notifier: Notifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llq_session, "REFRESH_WITHIN_S", 0.3)
    async with (
        between(notifier, lambda _message, _onward: True) as (server, wire),
        following(notifier, server, question("prolonged")) as (_, told),
    ):
        await async_until(lambda: told.states == [server], "a session")

        def refreshes() -> int:
            return sum(option(each).opcode == Opcode.REFRESH for each in wire.seen)

        await async_until(lambda: refreshes() >= 4, "two refreshes, each answered")
        assert len(told.states) == 1


async def test_a_server_that_answers_no_refresh_is_lost(notifier: Notifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llq_session, "REFRESH_WITHIN_S", 0.3)
    monkeypatch.setattr(llq, "WAITS_S", (0.2, 0.4, 0.8))
    async with (
        between(notifier, lambda message, _onward: option(message).opcode != Opcode.REFRESH) as (server, wire),
        following(notifier, server, question("mute")) as (_, told),
    ):
        await async_until(lambda: told.states == [server, f"{server} is lost: no answer; see that it runs"], "the loss")
        refreshes = [each for each in wire.seen if option(each).opcode == Opcode.REFRESH and option(each).lease]
        assert len(refreshes) == 3


async def test_routers_on_the_way_are_kept_from_forgetting(notifier: Notifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llq_channel, "KEEPALIVE_S", 0.2)
    async with (
        between(notifier, lambda _message, _onward: True) as (server, wire),
        following(notifier, server, question("kept")) as (_, told),
    ):
        await async_until(lambda: told.states == [server], "a session")
        count = len(wire.seen)
        await async_until(lambda: wire.octets >= 3, "octets")
        assert len(wire.seen) == count  # nobody answers them
        update(notifier, "add kept 60 TXT a")
        await async_until(lambda: told.texts() == ['+"a"'], "the change")


async def test_a_server_that_has_forgotten_us_is_asked_anew(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llq_session, "REFRESH_WITHIN_S", 4.0)
    monkeypatch.setattr(push_client, "FIRST_RETRY_S", 0.1)
    before(notifier, "add forgotten 60 TXT a")
    asked = question("forgotten")
    async with (
        between(notifier, lambda _message, _onward: True) as (server, wire),
        following(notifier, server, asked) as (_, told),
    ):
        await async_until(lambda: told.states == [server], "a session")
        # Somebody ends it, as a restart of the server would.
        granted = next(option(each) for each in wire.seen if each.response and each.changes)
        wire.inject(llq.encode(1, [asked], [replace(granted, opcode=Opcode.REFRESH, lease=0)])[0])
        update(notifier, "delete forgotten", "add forgotten 60 TXT b")
        await async_until(lambda: sorted(told.texts()) == ['+"a"', '+"b"', '-"a"'], "the new state")
        why = "it does not know our question any more (NO-SUCH-LLQ); see that it runs"
        assert told.states[1:] == [f"{server} is lost: {why}", server]


async def test_a_refusal_is_told(notifier: Notifier) -> None:
    with notifying(hosts=("macbook",)) as other:  # which has no key of ours
        server = Server(SERVER_NAME, (ADDRESS,), other.ports.llq, "llq")
        async with following(notifier, server, question("x")) as (_, told):
            await async_until(lambda: bool(told.states), "the error")
            assert "the LLQ server" in str(told.states[0])
            assert "refuses (RCODE 9)" in str(told.states[0])


async def test_nobody_there_is_told(notifier: Notifier) -> None:
    server = Server(SERVER_NAME, (ADDRESS,), 1, "llq")
    async with following(notifier, server, question("x")) as (_, told):
        await async_until(lambda: bool(told.states), "the error")
        assert "see that it runs" in str(told.states[0])
