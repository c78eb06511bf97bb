# SPDX-License-Identifier: GPL-3.0-or-later
"""The long-lived queries that were granted: to whom, for what, until when."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from ansible_collections.btmm.fleet.plugins.module_utils.names import folded

from .bucket import BURST, Bucket
from .topics import Topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dns.tsig
    from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

    from .access import Client
    from .config import Limits
    from .topics import Topic


DATAGRAMS_PER_S = 200.0  # of a client that has LLQs, after the first `BURST`: acknowledgments, most of them


class Peer(Protocol):
    """The other end, as one address and port of UDP, or one connection."""

    address: str
    client: Client | None  # whom a certificate has shown

    @property
    def where(self) -> tuple[str, int]:
        """What tells it from others, of this server, ever."""

    @property
    def reliable(self) -> bool:
        """Whether it is a connection, which has proved its address by the handshake, and delivers what is sent."""

    @property
    def secret(self) -> bool:
        """Whether nobody else hears what is said."""

    def introduced(self, client: Client) -> bool:
        """A signature has shown who it is; return whether it may go on."""

    def tell(self, wire: bytes) -> None:
        """Send one message."""


class Llq:
    """One long-lived query. Events wait in `queue`; the first of them is on its way while `tries` is not 0."""

    __slots__ = ("client", "due", "expires", "id", "key", "number", "peer", "queue", "room", "topic", "tries")

    def __init__(self, number: int, peer: Peer, client: Client | None, key: dns.tsig.Key | None, room: int) -> None:
        self.id = number
        self.topic: Topic[Llq]
        self.peer = peer
        self.client = client
        self.key = key  # what answers and events are signed with
        self.room = room  # octets of an event, without the signature
        self.expires = 0.0  # monotonic seconds
        self.queue: deque[bytes] = deque()
        self.number = 0  # message ID of the event on its way
        self.tries = 0
        self.due = 0.0  # when its acknowledgment is overdue, monotonic seconds


class _Own:
    """What is one client's: its LLQs, and how much more it may say by UDP."""

    __slots__ = ("bucket", "llqs")

    def __init__(self) -> None:
        self.llqs: set[Llq] = set()
        self.bucket = Bucket(BURST, DATAGRAMS_PER_S)


class Table:
    """All of one server."""

    def __init__(self, limits: Limits) -> None:
        self.topics: Topics[Llq] = Topics()
        self._limits = limits
        self._llqs: dict[int, Llq] = {}
        self._per_peer: dict[tuple[str, int], _Own] = {}
        self._per_owner: dict[Client | str, int] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._llqs)

    def __iter__(self) -> Iterator[Llq]:
        """Go through all of them, as they are now."""
        return iter(tuple(self._llqs.values()))

    def find(self, number: int, peer: Peer) -> Llq | None:
        """Return the one with this ID; only who made it finds it."""
        llq = self._llqs.get(number)
        return llq if llq is not None and llq.peer.where == peer.where else None

    def of(self, peer: Peer) -> list[Llq]:
        """Return all of one client."""
        own = self._per_peer.get(peer.where)
        return list(own.llqs) if own is not None else []

    def bucket(self, peer: Peer) -> Bucket | None:
        """Return the measure of a client that has any, and so is where it says."""
        own = self._per_peer.get(peer.where)
        return own.bucket if own is not None else None

    def taken(self, number: int) -> bool:
        """Whether somebody has this ID."""
        return number in self._llqs

    def full(self, peer: Peer, client: Client | None, question: Question) -> bool:
        """Whether nobody, or this client, can have another one, and none would give way to it."""
        return self._at_limit(client or peer.address) and self._former(peer, client, question) is None

    def add(self, llq: Llq, question: Question) -> None:
        """Grant one."""
        if self._at_limit(llq.client or llq.peer.address):
            former = self._former(llq.peer, llq.client, question)
            if former is not None:
                self.drop(former)
        llq.topic = self.topics.topic(question)
        llq.topic.members.add(llq)
        self._llqs[llq.id] = llq
        own = self._per_peer.get(llq.peer.where)
        if own is None:
            own = self._per_peer[llq.peer.where] = _Own()
        own.llqs.add(llq)
        owner = llq.client or llq.peer.address
        self._per_owner[owner] = self._per_owner.get(owner, 0) + 1

    def drop(self, llq: Llq) -> None:
        """End one; harmless when it has ended."""
        if self._llqs.pop(llq.id, None) is None:
            return
        llq.queue.clear()
        llq.tries = 0
        self.topics.leave(llq, llq.topic)
        own = self._per_peer[llq.peer.where]
        own.llqs.discard(llq)
        if not own.llqs:
            del self._per_peer[llq.peer.where]
        owner = llq.client or llq.peer.address
        left = self._per_owner[owner] - 1
        if left:
            self._per_owner[owner] = left
        else:
            del self._per_owner[owner]

    def _at_limit(self, owner: Client | str) -> bool:
        own = self._per_owner.get(owner, 0)
        return len(self._llqs) >= self._limits.llqs or own >= self._limits.llqs_per_client

    def _former(self, peer: Peer, client: Client | None, question: Question) -> Llq | None:
        """Return what a client asked by UDP from where it was before, if it has: what was refreshed longest ago.

        Each move of a host is another port, and only the lease ends what is left behind. Who has shown nothing but an
        address takes nothing from anybody.
        """
        if client is None:
            return None
        topics = self.topics.concerned(folded(question.name))
        members = (llq for topic in topics if topic.question[1:] == question[1:] for llq in topic.members)
        former = (
            llq for llq in members if llq.client == client and not llq.peer.reliable and llq.peer.where != peer.where
        )
        return min(former, key=lambda llq: llq.expires, default=None)

    def expire(self) -> None:
        """End those whose lease has run out."""
        now = time.monotonic()
        for llq in self:
            if llq.expires < now:
                self.drop(llq)
