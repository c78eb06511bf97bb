# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of long-lived queries (RFC 8764 section 6): encoded once, sent to each, again until acknowledged.

A client has one event of an LLQ on its way at a time: two that overtake each other would leave it with what is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import llq as codec
from ansible_collections.btmm.fleet.plugins.module_utils import push, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.names import folded

from . import push_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

    from .llq_table import Llq, Peer, Table
    from .mirror import Change

AT_ONCE = 64  # events in one turn of the loop: in between, acknowledgments are taken off the socket
QUEUE = 256  # events that may wait for one LLQ; whoever lags that far has to ask anew


class _Told:
    """What one step means to those who asked one question, encoded for each size of message."""

    def __init__(self, question: Question, changes: Sequence[push.Change]) -> None:
        self._question = question
        self._changes = changes
        self._encoded: dict[int, list[bytes]] = {}

    def events(self, room: int) -> list[bytes]:
        if room not in self._encoded:
            self._encoded[room] = codec.encode_events(self._question, self._changes, room)
        return self._encoded[room]


class Events:
    """Sends all events of one server."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._ready: deque[Llq] = deque()  # whose first event is to be sent now
        self._unacknowledged: dict[Llq, None] = {}
        self.sent = self.resent = self.lost = 0

    def changed(self, changes: Sequence[Change]) -> None:
        """One step of a zone: tell whom it concerns."""
        by_name = self._table.topics.by_name((folded(change.name), change) for change in changes)
        for key, some in by_name.items():
            for topic in self._table.topics.concerned(key):
                records = _records(some, topic.question.rdtype)
                if records:
                    told = _Told(topic.question, records)
                    for llq in tuple(topic.members):
                        self._queue(llq, told)

    def tell(self, llq: Llq, changes: Sequence[push.Change]) -> None:
        """Tell one client, as of first answers that did not fit into one message."""
        if changes:
            self._queue(llq, _Told(llq.topic.question, changes))

    def acknowledged(self, peer: Peer, message: codec.Message) -> None:
        """Take a client's word that it has an event. It is believed unsigned: it knows the 64 bits of the LLQ-ID."""
        for each in message.llqs:
            llq = self._table.find(each.id, peer) if each else None
            if llq is not None and llq.tries and llq.number == message.id:
                llq.tries = 0
                self._unacknowledged.pop(llq, None)
                llq.queue.popleft()
                if llq.queue:
                    self._make_ready(llq)

    def sweep(self) -> None:
        """Send again what is overdue, and give up who does not answer (RFC 8764 section 6.3)."""
        now = time.monotonic()
        for llq in tuple(self._unacknowledged):
            if not llq.tries:
                del self._unacknowledged[llq]  # it has ended
            elif now < llq.due:
                continue
            elif llq.tries < len(codec.WAITS_S):
                self.resent += 1
                self._send(llq, llq.queue[0])
            else:
                self.lost += 1
                del self._unacknowledged[llq]
                self._table.drop(llq)

    def _queue(self, llq: Llq, told: _Told) -> None:
        idle = not llq.queue
        llq.queue.extend(told.events(llq.room))
        if len(llq.queue) > QUEUE:
            self.lost += 1
            self._table.drop(llq)
        elif idle and llq.queue:
            self._make_ready(llq)

    def _make_ready(self, llq: Llq) -> None:
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._ready.append(llq)

    def _deliver(self) -> None:
        """Serve some, and the rest in the next turns of the loop."""
        for _ in range(min(AT_ONCE, len(self._ready))):
            llq = self._ready.popleft()
            if llq.peer.reliable:
                # Sending may find out that the client has gone, or reads too slowly: then there is no queue any more.
                while llq.queue:
                    self._send(llq, llq.queue.popleft())
            elif llq.queue and not llq.tries:  # else it has ended meanwhile, or began anew
                self._send(llq, llq.queue[0])
        if self._ready:
            asyncio.get_running_loop().call_soon(self._deliver)

    def _send(self, llq: Llq, event: bytes) -> None:
        if not llq.tries:
            self.sent += 1
            llq.number = llq.number % 0xFFFF + 1
        wire = codec.addressed(event, llq.number, llq.id)
        if llq.key is not None:
            wire, _ = tsig.sign(wire, llq.key)  # anew each time: it tells when
        if not llq.peer.reliable:
            llq.due = time.monotonic() + codec.WAITS_S[llq.tries]
            llq.tries += 1
            self._unacknowledged[llq] = None
        llq.peer.tell(wire)


def _records(changes: Sequence[Change], rdtype: int) -> list[push.Change]:
    """Return what a step does, record by record: what is gone has the TTL -1 (RFC 8764 section 6.1)."""
    found: list[push.Change] = []
    for change in changes:
        if push_changes.concerns(change.rdtype, rdtype):
            found += [push.Change(change.name, change.rdtype, push.REMOVE, rdata) for rdata in change.removed]
            found += [push.Change(change.name, change.rdtype, change.ttl, rdata) for rdata in change.added]
    return found
