# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS Push for the zones of the mirror (RFC 8765): who subscribes to what, and how a change gets to all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING

import dns.rdataclass
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import background, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Rcode
from ansible_collections.btmm.fleet.plugins.module_utils.names import folded
from dns.rdatatype import RdataType

from . import push_changes
from .push_answers import Answers
from .push_delivery import Delivery, framed
from .push_session import CLOSE_WITHIN_S, MINUTE_MS, Session
from .stream import Limits
from .streams import Streams
from .topics import Topics

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
    from dns.name import Name

    from . import config
    from .access import Access, Client
    from .mirror import Change, Mirror
    from .stream import Stream
    from .topics import Topic

_LOGGER = logging.getLogger(__name__)

SESSIONS_AT_ONCE = 200  # that are told of a change in one turn of the loop
SWEEP_S = 1.0
# Connections beyond the sessions there may be: whoever has one is told to come again later, and not just cut off.
RESERVE = 256
# What is dictated, in milliseconds: RFC 8490 section 6.5.2 recommends an hour, home routers forget sooner.
LONGEST = Keepalive(inactivity_ms=30_000, interval_ms=60 * MINUTE_MS)
SHORTEST = Keepalive(inactivity_ms=0, interval_ms=30_000)


class PushServer:
    """The service. All of it runs in one event loop; what a client or a zone causes never awaits anything."""

    kind = "push"

    def __init__(self, mirror: Mirror, access: Access, limits: config.Limits) -> None:
        self.limits = limits
        self.mirror = mirror
        self.access = access
        self._streams = Streams(self._make, Limits(streams=limits.sessions + RESERVE, queue=limits.queued_bytes))
        self._topics: Topics[Session] = Topics()
        self._sessions: set[Session] = set()
        self._per_client: dict[Client | None, set[Session]] = {}
        self._deliveries: deque[Delivery] = deque()
        self._end_of_changes = mirror.subscribe(self._changed)
        self._answers = Answers()
        self._sweeping: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self.port = 0
        self._events = 0

    async def async_start(self, addresses: Sequence[str], port: int) -> None:
        """Listen at these addresses. Port 0 is a free one, in tests.

        Raises:
            OSError: the port is taken, or an address is not this host's.
        """
        for address in addresses:
            self.port = self._streams.listen(address, port, self.access.context)
        self._sweeping = background.start(self._async_sweep())

    def recheck(self) -> None:
        """Judge open sessions again; who may know less now is asked to go (RFC 8490 section 7.2.1)."""
        for session in tuple(self._sessions):
            zones = self.access.opens(session.client)
            if session.zones - zones:
                session.dismiss(Rcode.NOTAUTH, 0)
            session.zones = zones

    async def async_stop(self) -> None:
        """Ask all clients to come back, each at another time, and cut off who does not go by himself."""
        self._end_of_changes()
        self._streams.stop_listening()
        self._flush()
        spread_ms = 1000 + 10 * len(self._sessions)
        for session in tuple(self._sessions):
            session.dismiss(Rcode.NOERROR, 1000 + random.randrange(spread_ms))  # noqa: S311 - spread, not secrecy
        if self._sessions:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._empty.wait()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._streams.close()

    def report(self) -> dict[str, int]:
        """Return what is going on, in numbers; `events` counts a step once for each session that it was told to."""
        return {
            "port": self.port,
            "sessions": len(self._sessions),
            "subscriptions": sum(len(topic.members) for topic in self._topics),
            "events": self._events,
            "refused": self._streams.refused,
            "slow": self._streams.slow,
        }

    def opened(self, session: Session, sock: ssl.SSLSocket) -> None:
        """A client is there. Without a certificate it is nobody, and has some seconds to introduce itself."""
        client = self.access.identify(sock)
        if client or self.access.opens(None):
            self.admit(session, client)
        else:
            self._streams.suspect(session)

    def admit(self, session: Session, client: Client | None) -> None:
        """It is known who a client is; who has no zone to hear of, or is here too often, is not let in."""
        if session in self._sessions:
            self._forget(session)  # it came as nobody, and has introduced itself
        elif session.sock is None:
            return
        else:
            self._streams.established(session, session.sock)
            session.surplus = len(self._sessions) >= self.limits.sessions
        session.client = client
        session.zones = self.access.opens(client)
        self._sessions.add(session)
        own = self._per_client.setdefault(client, set())
        own.add(session)
        if not session.zones or (client and len(own) > self.limits.sessions_per_address):
            why = "it has too many sessions" if session.zones else "it is no host of a zone of ours"
            _LOGGER.info("%s (%s) is not let in: %s", client or "a client", session.address, why)
            session.abort()

    def closed(self, session: Session) -> None:
        """A client has gone."""
        self.quiet(session)
        if session in self._sessions:
            self._sessions.discard(session)
            self._forget(session)
        if not self._sessions:
            self._empty.set()

    def _forget(self, session: Session) -> None:
        own = self._per_client[session.client]
        own.discard(session)
        if not own:
            del self._per_client[session.client]

    def quiet(self, session: Session) -> None:
        """Tell a session nothing more."""
        for topic in session.topics.values():
            self.leave(session, topic)
        session.topics = {}

    def granted(self, wished: Keepalive) -> Keepalive:
        """Return the timeouts that the server dictates (RFC 8490 section 7.1)."""
        return Keepalive(
            min(max(wished.inactivity_ms, SHORTEST.inactivity_ms), LONGEST.inactivity_ms),
            min(max(wished.interval_ms, SHORTEST.interval_ms), LONGEST.interval_ms),
        )

    def judge(self, session: Session, question: Question) -> Rcode:
        """Return whether the session may subscribe to this (RFC 8765 section 6.2.2)."""
        zone = self.mirror.zone_of(question.name)
        in_class = question.rdclass in (dns.rdataclass.IN, push.ANY)
        if zone is None or zone not in session.zones or not in_class:
            return Rcode.NOTAUTH
        if question.rdtype != push.ANY and dns.rdatatype.is_metatype(RdataType.make(question.rdtype)):
            return Rcode.FORMERR
        if len(session.topics) >= self.limits.subscriptions_per_session:
            return Rcode.REFUSED
        state = self.mirror.state(zone)
        if session.surplus or state is None or state.serial is None or self._full(session.client):
            return Rcode.SERVFAIL
        return Rcode.NOERROR

    def _full(self, client: Client | None) -> bool:
        """Whether the sessions of a client have all the subscriptions that one client may have."""
        if client is None:
            return False
        count = sum(len(session.topics) for session in self._per_client.get(client, ()))
        return count >= self.limits.subscriptions_per_client

    def topic(self, question: Question) -> Topic[Session]:
        """Return the topic of a question, which is about to get a subscriber."""
        return self._topics.topic(question)

    def leave(self, session: Session, topic: Topic[Session]) -> None:
        """Take a session off a topic."""
        self._topics.leave(session, topic)

    def initial(self, topic: Topic[Session], block: int) -> bytes:
        """Return what a new subscriber is told at once, framed: all that is there, if anything is."""
        # What is on its way to earlier subscribers is in the answer already, and must not come after it.
        self._flush()
        question = topic.question
        known = self._answers.get(topic, block)
        if known is not None:
            return known
        sets = self.mirror.lookup(question.name, RdataType.make(push.ANY))
        answer = framed(push_changes.initial(sets, question.rdtype), block)
        self._answers.keep(topic, block, answer)
        return answer

    def reconfirm(self, session: Session, name: Name) -> None:
        """Look whether the primary knows better (RFC 8765 section 6.5): whether its zone is another one than ours."""
        zone = self.mirror.zone_of(name)
        if zone is not None and zone in session.zones:
            self.mirror.check(zone)

    def _make(self, streams: Streams, sock: socket.socket, address: str) -> Stream:
        return Session(streams, sock, address, self)

    def _changed(self, changes: Sequence[Change]) -> None:
        """One step of a zone: find who has to hear of it, and what."""
        named = [(folded(change.name), change) for change in changes]
        for key, _ in named:
            self._answers.forget(key)
        by_name = self._topics.by_name(iter(named))
        told: list[list[push.Change]] = []
        hearers: dict[Session, tuple[int, ...]] = {}
        for key, some in by_name.items():
            left = {int(s.rdtype): len(s.rdatas) for s in self.mirror.lookup(some[0].name, RdataType.make(push.ANY))}
            for topic in self._topics.concerned(key):
                notes = push_changes.notifications(topic.question.name, some, left, topic.question.rdtype)
                if notes:
                    for session in topic.members:
                        hearers[session] = (*hearers.get(session, ()), len(told))
                    told.append(notes)
        # One message for all who hear the same; who subscribes to several of it hears of each change once.
        groups: dict[tuple[int, ...], list[Session]] = {}
        for session, indices in hearers.items():
            groups.setdefault(indices, []).append(session)
        idle = not self._deliveries
        for indices, sessions in groups.items():
            merged = list(dict.fromkeys(note for index in indices for note in told[index]))
            self._deliveries.append(Delivery(merged, sessions))
        self._events += len(hearers)
        if idle and self._deliveries:
            self._deliver()

    def _deliver(self) -> None:
        """Serve some sessions, and the rest in the next turns of the loop."""
        room = SESSIONS_AT_ONCE
        while self._deliveries and room > 0:
            first = self._deliveries[0]
            room -= len(first.sessions) - first.next
            if first.send(SESSIONS_AT_ONCE):
                self._deliveries.popleft()
        if self._deliveries:
            asyncio.get_running_loop().call_soon(self._deliver)

    def _flush(self) -> None:
        while self._deliveries:
            delivery = self._deliveries.popleft()
            delivery.send(len(delivery.sessions))

    async def _async_sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._streams.sweep()
            now = time.monotonic()
            for session in tuple(self._sessions):
                if session.overdue(now):
                    session.abort()
