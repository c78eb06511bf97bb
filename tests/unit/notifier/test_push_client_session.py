# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of a Push session, octet by octet: what comes late, and what must not come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push, push_session
from ansible_collections.btmm.fleet.plugins.module_utils.push import Change, Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_session import Session

from tests.notifier import ZONE
from tests.unit.notifier.test_push_client import async_until

NAME = dns.name.from_text("a", ZONE)
INTERVAL_S = 0.2


class Server:
    """Answers a session that has one subscription; the session writes to it as to a stream."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.asked: list[int] = []  # IDs of SUBSCRIBEs
        self.answers = True
        self.changes: list[Change] = []
        streams: Any = (self.reader, self)
        self.session = Session(streams, self.changes.extend, lambda: None, lambda: None)
        self.running = asyncio.ensure_future(self.session.async_hold([Question(NAME, 16)]))
        self._closing = False

    def write(self, octets: bytes) -> None:
        message = dso.parse(octets[2:])
        tlvs = []
        if message.primary.type == push.Type.SUBSCRIBE:
            self.asked.append(message.id)
        elif message.primary.type == dso.Type.KEEPALIVE:
            tlvs = [dso.keepalive(dso.Keepalive(15_000, 60_000))]
        else:
            return
        if self.answers:
            self.say(dso.encode(tlvs, message.id, response=True))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    async def wait_closed(self) -> None:
        pass

    def say(self, wire: bytes) -> None:
        self.reader.feed_data(len(wire).to_bytes(2, "big") + wire)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await async_until(lambda: made.session.synced, "a session")
    yield made
    made.running.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError, dso.DsoError):
        await made.running


def pushed() -> bytes:
    (wire,) = push.encode_push([Change(NAME, 16, push.REMOVE_ALL)])
    return wire


async def test_a_message_that_comes_in_pieces_is_one_message(server: Server) -> None:
    server.session._interval_s = INTERVAL_S
    server.say(pushed())
    await async_until(lambda: len(server.changes) == 1, "a message")
    wire = pushed()
    server.reader.feed_data(len(wire).to_bytes(2, "big"))
    await asyncio.sleep(2 * INTERVAL_S)
    server.reader.feed_data(wire)
    await async_until(lambda: len(server.changes) == 2, "the message in pieces")
    assert not server.running.done()


async def test_a_message_that_never_ends_is_a_loss(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_session, "ANSWER_WITHIN_S", 0.05)
    server.reader.feed_data(b"\0\x20half")
    with pytest.raises(ConnectionError, match="did not end"):
        await asyncio.wait_for(server.running, 5)


async def test_a_response_to_nothing_that_was_asked_breaks_the_protocol(server: Server) -> None:
    server.say(dso.encode([], 4711, response=True))
    with pytest.raises(dso.FatalError, match="nothing that was asked"):
        await asyncio.wait_for(server.running, 5)


async def test_a_second_response_may_only_end_a_subscription(server: Server) -> None:
    (number,) = server.asked
    server.say(dso.encode([], number, response=True))
    with pytest.raises(dso.FatalError, match="nothing that was asked"):
        await asyncio.wait_for(server.running, 5)


async def test_what_an_end_crosses_on_its_way_is_no_fault(server: Server) -> None:
    """A subscription that is not answered yet, and one that the server ends itself (RFC 8490 section 5.6)."""
    server.answers = False
    more = Question(dns.name.from_text("more", ZONE), 16)
    server.session.subscribe([more])
    for question in (more, Question(NAME, 16)):
        server.session.unsubscribe(question)
    first, second = server.asked
    server.say(dso.encode([], second, response=True))
    server.say(dso.encode([], first, response=True, rcode=dso.Rcode.SERVFAIL))
    server.say(pushed())
    await async_until(lambda: bool(server.changes), "the session goes on")
    assert server.session.refusals == {}
