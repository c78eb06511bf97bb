# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients ask of long-lived queries, and what they are told: setup and refresh (RFC 8764 sections 5 and 7)."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils import llq as codec
from ansible_collections.btmm.fleet.plugins.module_utils import push, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Error, Opcode
from dns.rdatatype import RdataType

from . import push_changes, signed
from .llq_challenge import Challenges
from .llq_table import Llq

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.push import Change, Question
    from dns.name import Name

    from .access import Access, Client
    from .llq_events import Events
    from .llq_rates import Rates
    from .llq_table import Peer, Table
    from .mirror import Mirror

PAYLOAD = 1232  # octets of a datagram at most, which no path has to fragment
COME_AGAIN_S = 300  # to whom is told that the server is full
MOST_QUESTIONS = 16  # in one message
_HEADER = 12


@dataclass(slots=True)
class _Request:
    """A message, and who it is from; with what is granted by it."""

    message: codec.Message
    peer: Peer
    client: Client | None
    zones: frozenset[Name]
    key: dns.tsig.Key | None = None
    mac: bytes = b""
    rcode: int = dns.rcode.NOERROR
    known: bool = False  # whether the client's address is proved
    answers: list[tuple[Llq, Change]] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """Return whose challenge it is."""
        return str(self.key.name) if self.key else ""

    @property
    def room(self) -> int:
        """Return how many octets a message to this client may have, without its signature."""
        datagram = min(max(self.message.payload, codec.LEAST_PAYLOAD), PAYLOAD)
        size = push.MAX_PUSH if self.peer.reliable else datagram
        return size - (tsig.room(self.key) if self.key else 0)


class Requests:
    """Answers requests."""

    def __init__(
        self, mirror: Mirror, access: Access, table: Table, events: Events, lease_s: tuple[int, int], rates: Rates
    ) -> None:
        """Remember all; `lease_s` bounds what is granted, in seconds, and `rates` what is looked at of datagrams."""
        self._mirror = mirror
        self._access = access
        self._table = table
        self._events = events
        self._rates = rates
        self._least_s, self._most_s = lease_s
        self._challenges = Challenges()

    def take(self, wire: bytes, peer: Peer) -> None:
        """Take a message."""
        if not peer.reliable and not self._rates.admits(peer):
            return
        try:
            message = codec.parse(wire)
        except codec.LlqError:
            if len(wire) >= _HEADER and not wire[2] & 0x80:
                peer.tell(_bare(wire, dns.rcode.FORMERR))
            return
        if message.response:
            self._events.acknowledged(peer, message)
        elif message.opcode:
            peer.tell(_bare(wire, dns.rcode.NOTIMP))
        elif not message.llqs:
            peer.tell(_bare(wire, dns.rcode.REFUSED))  # an ordinary question: the zone's own servers answer those
        elif not message.questions or max(len(message.questions), len(message.llqs)) > MOST_QUESTIONS:
            peer.tell(_bare(wire, dns.rcode.FORMERR))
        else:
            request = _Request(message, peer, peer.client, frozenset(), known=peer.reliable)
            if not message.signed or self._verify(wire, request):
                request.zones = self._access.opens(request.client)
                self._answer(wire, request)

    def _verify(self, wire: bytes, request: _Request) -> bool:
        """Look who has signed it; answer when the signature is wrong."""
        if not request.peer.reliable and not self._rates.verifies(request.peer):
            return False
        verified, refusal = signed.read(wire, self._access)
        if verified is None:
            self._tell(wire, refusal, request)
            return False
        if verified.keyname is not None:
            request.client = self._access.identify_key(verified.keyname)
            request.key, request.mac = self._access.key(verified.keyname), verified.mac or b""
        return request.client is None or request.peer.introduced(request.client)

    def _answer(self, wire: bytes, request: _Request) -> None:
        message = request.message
        if len(message.questions) == len(message.llqs):
            pairs = zip(message.questions, message.llqs, strict=True)
            told = [self._judge(question, asked, request) for question, asked in pairs]
        else:
            told = [codec.refused(asked, Error.FORMAT_ERR) for asked in message.llqs]
        answer, count = codec.encode(
            message.id,
            message.questions,
            told,
            [change for _, change in request.answers],
            room=request.room,
            payload=PAYLOAD,
            response=True,
            rcode=request.rcode,
        )
        if request.key is not None:
            answer, _ = tsig.sign(answer, request.key, request.mac)
        self._tell(wire, answer, request)
        rest: dict[Llq, list[Change]] = {}
        for llq, change in request.answers[count:]:
            rest.setdefault(llq, []).append(change)
        for llq, changes in rest.items():
            self._events.tell(llq, changes)

    def _tell(self, wire: bytes, answer: bytes, request: _Request) -> None:
        """Answer; but who only claims an address must not have more sent there than he sends himself."""
        if request.known or len(answer) <= len(wire):
            request.peer.tell(answer)

    def _judge(self, question: Question, asked: codec.Llq | None, request: _Request) -> codec.Llq:
        """Return what one option is answered with."""
        if asked is None:
            return codec.refused(None, Error.FORMAT_ERR)
        if asked.version != codec.VERSION:
            return codec.refused(asked, Error.BAD_VERS)
        if asked.opcode == Opcode.SETUP:
            return self._set_up(question, asked, request)
        if asked.opcode == Opcode.REFRESH:
            return self._refresh(question, asked, request)
        return codec.refused(asked, Error.FORMAT_ERR)

    def _set_up(self, question: Question, asked: codec.Llq, request: _Request) -> codec.Llq:
        """Challenge, or grant."""
        peer = request.peer
        lease = min(max(asked.lease, self._least_s), self._most_s)
        known = self._table.find(asked.id, peer)
        if known is not None and known.topic.question == question and known.client == request.client:
            # Our answer was lost, and the client repeats what it said.
            return self._grant(known, lease, request)
        error = self._refusal(question, request)
        if error != Error.NO_ERROR:
            return codec.refused(asked, error, COME_AGAIN_S if error == Error.SERV_FULL else 0)
        # A connection has proved its address. But what is signed and not secret may be somebody else's, said again.
        if peer.reliable and (peer.secret or request.key is None):
            number = secrets.randbits(64) or 1
        else:
            number = asked.id or self._challenges.issue(peer.where, request.owner, question)
            if not asked.id:
                return codec.Llq(Opcode.SETUP, number, lease)
            if not self._challenges.accepts(number, peer.where, request.owner, question):
                return codec.refused(asked, Error.NO_SUCH_LLQ)
        if self._table.taken(number):
            return codec.refused(asked, Error.UNKNOWN_ERR)
        granted = Llq(number, peer, request.client, request.key, request.room)
        self._table.add(granted, question)
        return self._grant(granted, lease, request)

    def _grant(self, llq: Llq, lease: int, request: _Request) -> codec.Llq:
        """Acknowledge, with all that is there now; what waits to be told is in it already."""
        request.known = True
        llq.expires = time.monotonic() + lease
        if not llq.tries:
            llq.queue.clear()
        question = llq.topic.question
        sets = self._mirror.lookup(question.name, RdataType.make(push.ANY))
        request.answers += [(llq, change) for change in push_changes.initial(sets, question.rdtype)]
        return codec.Llq(Opcode.SETUP, llq.id, lease)

    def _refresh(self, question: Question, asked: codec.Llq, request: _Request) -> codec.Llq:
        """Prolong, or with a lease of 0 end (RFC 8764 sections 7.1 and 7.2)."""
        llq = self._table.find(asked.id, request.peer)
        if llq is None or llq.client != request.client or llq.topic.question != question:
            return codec.refused(asked, Error.NO_SUCH_LLQ)
        request.known = True
        if not asked.lease:
            self._table.drop(llq)
            return codec.Llq(Opcode.REFRESH, asked.id)
        lease = min(max(asked.lease, self._least_s), self._most_s)
        llq.expires = time.monotonic() + lease
        return codec.Llq(Opcode.REFRESH, asked.id, lease)

    def _refusal(self, question: Question, request: _Request) -> Error:
        """Return why a client can't have a long-lived query of this."""
        zone = self._mirror.zone_of(question.name)
        metatype = question.rdtype != push.ANY and dns.rdatatype.is_metatype(RdataType.make(question.rdtype))
        if question.rdclass != dns.rdataclass.IN or metatype:
            return Error.FORMAT_ERR
        if zone is None or zone not in request.zones:
            request.rcode = dns.rcode.REFUSED
            return Error.UNKNOWN_ERR
        if question.rdtype == dns.rdatatype.NS and question.name == zone:
            return Error.STATIC  # only whoever runs the zone changes these
        state = self._mirror.state(zone)
        if state is None or state.serial is None:
            request.rcode = dns.rcode.SERVFAIL
            return Error.UNKNOWN_ERR
        return Error.SERV_FULL if self._table.full(request.peer, request.client, question) else Error.NO_ERROR


def _bare(wire: bytes, rcode: int) -> bytes:
    """Return an answer that is a header only."""
    return wire[:2] + bytes((0x80 | (wire[2] & 0x79), rcode)) + bytes(8)
