# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived queries (RFC 8764) for the zones of the mirror: by UDP and TCP, and by TLS as Back to My Mac had them.

Over a connection there is no challenge, and events come over it, too. Back to My Mac's servers sent them in the clear,
to a UDP port that the client had put into the error field; that field of a request is not looked at here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
import time
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils import llq as codec

from .bucket import Bucket
from .llq_datagrams import DatagramSockets
from .llq_events import Events
from .llq_rates import Rates
from .llq_requests import Requests
from .llq_table import Table
from .stream import Limits, Stream
from .streams import Streams

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from . import config
    from .access import Access, Client
    from .mirror import Mirror

_LOGGER = logging.getLogger(__name__)

SWEEP_S = 0.5
IDLE_S = 30.0  # how long a connection without any LLQ is kept
_NUMBERS = itertools.count(1)  # of connections


class LlqServer:
    """The service, by UDP and TCP. All of it runs in one event loop; what a client or a zone causes never awaits."""

    kind = "llq"
    tls = False
    lease_s = (codec.LEAST_LEASE_S, codec.MOST_LEASE_S)

    def __init__(self, mirror: Mirror, access: Access, limits: config.Limits) -> None:
        self.access = access
        self.limits = limits
        self.table = Table(limits)
        self._mirror = mirror
        self._events = Events(self.table)
        self._rates = Rates(self.table, limits)
        self.requests = Requests(mirror, access, self.table, self._events, self.lease_s, self._rates)
        self._streams = Streams(
            lambda streams, sock, address: Session(streams, sock, address, self),
            Limits(streams=limits.sessions, queue=limits.queued_bytes),
        )
        self._datagrams = DatagramSockets(self.requests.take)
        self._sessions: dict[Client | str, set[Session]] = {}
        self._end_of_changes = mirror.subscribe(self._events.changed)
        self._sweeping: asyncio.Task[None] | None = None
        self.port = 0

    async def async_start(self, addresses: Sequence[str], port: int) -> None:
        """Listen at these addresses. Port 0 is a free one, in tests.

        Raises:
            OSError: the port is taken, or an address is not this host's.
        """
        for address in addresses:
            self.port = self._streams.listen(address, port, self.access.context if self.tls else None)
            if not self.tls:
                self._datagrams.listen(address, self.port)
        self._sweeping = background.start(self._async_sweep())

    def recheck(self) -> None:
        """Judge what was granted again: a client that knows less now hears no more of the rest."""
        for llq in self.table:
            opened = self._mirror.zone_of(llq.topic.question.name) in self.access.opens(llq.client)
            if not opened or (llq.key and self.access.key(llq.key.name) != llq.key):
                self.table.drop(llq)
        for session in self._all_sessions():
            if self.tls and not self.access.opens(session.client):
                session.abort()

    def report(self) -> dict[str, int]:
        """Return what is going on, in numbers.

        `lost` are clients that did not acknowledge an event, `dropped` datagrams that were too many to look at.
        """
        return {
            "port": self.port,
            "sessions": len(self._all_sessions()),
            "subscriptions": len(self.table),
            "events": self._events.sent,
            "resent": self._events.resent,
            "lost": self._events.lost,
            "refused": self._streams.refused,
            "slow": self._streams.slow,
            "dropped": self._rates.dropped,
        }

    async def async_stop(self) -> None:
        """Stop. Who is connected sees it; who is not, when it refreshes: the protocol has no word for it."""
        self._end_of_changes()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._datagrams.close()
        self._streams.close()

    def opened(self, session: Session) -> None:
        """A client is there. By TLS and without a certificate it is nobody, and has some seconds to sign something."""
        client = self.access.identify(session.sock) if isinstance(session.sock, ssl.SSLSocket) else None
        if client or not self.tls or self.access.opens(None):
            self.admit(session, client)
        else:
            self._streams.suspect(session)

    def admit(self, session: Session, client: Client | None) -> bool:
        """It is known who a client is; who has no zone to hear of, or is here too often, is not let in."""
        if session.sock is None or session in self._sessions.get(session.owner, ()):
            return session.alive
        self._streams.established(session, session.sock)
        session.client = client
        sessions = self._sessions.setdefault(session.owner, set())
        sessions.add(session)
        if len(sessions) > self.limits.sessions_per_address or (self.tls and not self.access.opens(client)):
            _LOGGER.info("%s (%s) is not let in", client or "a client", session.address)
            session.abort()
        return session.alive

    def closed(self, session: Session) -> None:
        """A client has gone."""
        for llq in self.table.of(session):
            self.table.drop(llq)
        sessions = self._sessions.get(session.owner, set())
        sessions.discard(session)
        if not sessions:
            self._sessions.pop(session.owner, None)

    def _all_sessions(self) -> list[Session]:
        return [session for sessions in self._sessions.values() for session in sessions]

    async def _async_sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._events.sweep()
            self._streams.sweep()
            self.table.expire()
            now = time.monotonic()
            for session in self._all_sessions():
                if now - session.heard > IDLE_S and not self.table.of(session):
                    session.abort()


class LlqTlsServer(LlqServer):
    """The same by TLS, with the hosts' keys or certificates."""

    kind = "llq_tls"
    tls = True


class Session(Stream):
    """One client's connection."""

    __slots__ = ("_bucket", "_service", "client", "heard", "secret", "where")

    reliable = True

    def __init__(self, server: Streams, sock: socket.socket, address: str, service: LlqServer) -> None:
        super().__init__(server, sock, address)
        self._service = service
        self._bucket = Bucket()
        self.client: Client | None = None
        self.secret = service.tls
        self.where = (address, -next(_NUMBERS))  # no port of UDP
        self.heard = time.monotonic()

    @property
    def owner(self) -> Client | str:
        """Whose it is."""
        return self.client or self.address

    def tell(self, wire: bytes) -> None:
        """Send one message."""
        self.send(len(wire).to_bytes(2, "big") + wire)

    def opened(self) -> None:
        """Learn who it is."""
        self._service.opened(self)

    def introduced(self, client: Client) -> bool:
        """It has signed a message."""
        return self._service.admit(self, client)

    def received(self, wire: bytes) -> None:
        """Take one message."""
        self.heard = time.monotonic()
        if self._bucket.take(self.heard):
            self._service.requests.take(wire, self)
        else:
            self.abort()

    def closed(self) -> None:
        """Forget it."""
        self._service.closed(self)
