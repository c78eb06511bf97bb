# SPDX-License-Identifier: GPL-3.0-or-later
"""Push sessions in this process, at moments that no test from outside can hit."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from notifier.access import Access
from notifier.config import Limits
from notifier.mirror import Mirror, RRset, State
from notifier.push_server import PushServer
from notifier.push_session import Session
from tests.notifier import ZONE

TXT = 16


class Loaded(Mirror):
    """A zone that is there, and empty."""

    def zone_of(self, name: dns.name.Name) -> dns.name.Name | None:
        return ZONE

    def state(self, zone: dns.name.Name) -> State | None:
        return State(1, stale=False, expired=False, since="", error=None)

    def lookup(self, name: dns.name.Name, rdtype: RdataType, rdclass: RdataClass = RdataClass.IN) -> tuple[RRset, ...]:
        return ()


class Pair:
    """A session of a host that may know the zone, and the other end of its connection."""

    def __init__(self) -> None:
        self.server = PushServer(Loaded(), Access(), Limits())
        self.server._streams._loop = asyncio.get_running_loop()
        own, self.peer = socket.socketpair()
        own.setblocking(False)
        self.session = Session(self.server._streams, own, "192.0.2.1", self.server)
        self.session._handshaking = False
        self.session.zones = frozenset((ZONE,))
        self.session._last = self.session._active = time.monotonic()

    def say(self, *tlvs: dso.Tlv, number: int = 1) -> None:
        wire = dso.encode(tlvs, number)
        self.peer.sendall(len(wire).to_bytes(2, "big") + wire)
        self.session.readable()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    made.session.close()
    made.peer.close()


def question(label: str) -> Question:
    return Question(dns.name.from_text(label, ZONE), TXT)


def test_answers_without_any_record_are_not_kept() -> None:
    server = PushServer(Mirror(), Access(), Limits())
    for number in range(20_000):
        topic = server.topic(question(f"n{number}"))
        assert server.initial(topic, 0) == b""
    assert len(server._answers) == 0


def test_there_is_something_to_report_before_it_listens() -> None:
    server = PushServer(Mirror(), Access(), Limits())
    assert server.report()["port"] == 0


async def test_a_session_goes_on_while_anything_is_said_on_it_by_either_end(pair: Pair) -> None:
    pair.say(dso.keepalive(Keepalive(30_000, 60_000)))
    pair.say(push.subscribe(question("busy")), number=2)
    heard = time.monotonic()
    assert not pair.session.overdue(heard + 119)
    assert pair.session.overdue(heard + 121)  # twice the interval (RFC 8490 section 6.5.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: heard + 100)
        pair.session.send(b"\0\0")
    assert not pair.session.overdue(heard + 219)
    assert pair.session.overdue(heard + 221)


async def test_who_is_gone_before_the_answer_is_no_subscriber(pair: Pair) -> None:
    wire = dso.encode([push.subscribe(question("gone"))], 1)
    pair.peer.sendall(len(wire).to_bytes(2, "big") + wire)
    pair.peer.close()
    pair.session.readable()
    assert not pair.session.alive
    assert list(pair.server._topics) == []
