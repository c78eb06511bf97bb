# SPDX-License-Identifier: GPL-3.0-or-later
"""One client of the Push service: its DSO session and its subscriptions (RFC 8490 sections 5-7, RFC 8765 section 6)."""

from __future__ import annotations

import logging
import ssl
import time
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Rcode

from .bucket import Bucket
from .introduction import introduced
from .stream import Stream

if TYPE_CHECKING:
    import socket

    from dns.name import Name

    from .access import Client
    from .push_server import PushServer
    from .streams import Streams
    from .topics import Topic

_LOGGER = logging.getLogger(__name__)

QUERY = 0  # the opcode (RFC 1035 section 4.1.1)
MINUTE_MS = 60_000
# How long to stay away with what was refused (RFC 8765 section 6.2.2).
DELAYS_MS = {Rcode.SERVFAIL: MINUTE_MS, Rcode.DSOTYPENI: 60 * MINUTE_MS}
OTHER_DELAY_MS = 5 * MINUTE_MS
CLOSE_WITHIN_S = 5.0  # after a Retry Delay (RFC 8490 section 6.6.1)
LEAST_GRACE_S = 5.0  # RFC 8490 section 6.4.1


class Session(Stream):
    """Answers one client. What it breaks the protocol with ends it by RST (RFC 8490 section 5.3.1)."""

    __slots__ = (
        "_active",
        "_begun",
        "_bucket",
        "_inactivity_s",
        "_interval_s",
        "_last",
        "_service",
        "block",
        "client",
        "ending",
        "surplus",
        "topics",
        "zones",
    )

    def __init__(self, server: Streams, sock: socket.socket, address: str, service: PushServer) -> None:
        super().__init__(server, sock, address)
        self._service = service
        self.client: Client | None = None
        self.zones: frozenset[Name] = frozenset()
        self.topics: dict[int, Topic[Session]] = {}  # by the message ID of the SUBSCRIBE
        self.surplus = False  # it came when there were too many
        self.block = 0  # PUSH messages are padded when the client's subscriptions are
        self.ending = 0.0  # when the client has to be gone, monotonic seconds; 0 while the session goes on
        self._begun = False  # whether the session is established (RFC 8490 section 5.1.2)
        self._inactivity_s = self._interval_s = dso.DEFAULT_TIMEOUT_MS / 1000
        self._bucket = Bucket()
        self._last = self._active = 0.0  # the last message either way, and the last use

    def opened(self) -> None:
        """Learn who it is."""
        self._last = self._active = time.monotonic()
        assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101 - for the type checker
        self._service.opened(self, self.sock)

    def closed(self) -> None:
        """Forget it."""
        self._service.closed(self)

    def send(self, data: bytes) -> None:
        """Send: after that, as after what comes, a client need say nothing for an interval (RFC 8490 section 6.5)."""
        self._last = time.monotonic()
        super().send(data)

    def received(self, wire: bytes) -> None:
        """Take one message."""
        if self.ending:
            return  # RFC 8490 section 6.6.1.1
        self._last = time.monotonic()
        if not self._bucket.take(self._last):
            self.dismiss(Rcode.REFUSED, OTHER_DELAY_MS)
            return
        try:
            self._handle(dso.parse(wire))
        except dso.NotDsoError as err:
            # Other messages may travel on a DSO session, but this server is none that answers them.
            if err.response:
                self.abort()
            elif err.opcode == QUERY and self.client is None:
                self._introduce(wire)
            else:
                self._send(bytes((err.id >> 8, err.id & 0xFF, 0x80 | err.opcode << 3, Rcode.NOTIMP)) + bytes(8))
        except dso.RequestError as err:
            self._respond(err.id, err.rcode)
        except dso.FatalError as err:
            _LOGGER.debug("session of %s aborted: %s", self.client or self.address, err)
            self.abort()

    def _introduce(self, wire: bytes) -> None:
        client, answer = introduced(wire, self._service.access, self._service.mirror)
        self._send(answer)
        if client is None:
            self.close()  # a second try costs a new handshake
        else:
            self._service.admit(self, client)

    def _handle(self, message: dso.Message) -> None:
        if message.response:
            raise dso.FatalError("a response to nothing that was asked")
        kind = message.primary.type
        if kind in (dso.Type.RETRY_DELAY, push.Type.PUSH):
            raise dso.FatalError(f"type {kind} is the server's to send")
        if kind in (push.Type.UNSUBSCRIBE, push.Type.RECONFIRM):
            if not message.unidirectional or not self._begun:
                raise dso.FatalError(f"type {kind} has a message ID, or comes before the session")
            self._active = self._last
            if kind == push.Type.UNSUBSCRIBE:
                self._unsubscribe(push.parse_unsubscribe(message.primary))
            else:
                self._service.reconfirm(self, push.parse_reconfirm(message.primary)[0])
        elif message.unidirectional:
            raise dso.FatalError(f"type {kind} without a message ID")
        elif kind == dso.Type.KEEPALIVE:
            self._keepalive(message)
        elif kind == push.Type.SUBSCRIBE:
            self._active = self._last
            self._subscribe(message)
        else:
            self._respond(message.id, Rcode.DSOTYPENI, padded=message.padded)

    def _keepalive(self, message: dso.Message) -> None:
        granted = self._service.granted(dso.parse_keepalive(message.primary))
        self._inactivity_s, self._interval_s = granted.inactivity_ms / 1000, granted.interval_ms / 1000
        self._begin(message, [dso.keepalive(granted)])
        if self.surplus:
            self.dismiss(Rcode.SERVFAIL, MINUTE_MS)

    def _begin(self, message: dso.Message, tlvs: list[dso.Tlv]) -> None:
        self._begun = True
        # A response without any TLV is right (RFC 8490 section 5.4.2), but Wireshark takes it for malformed.
        block = dso.SERVER_BLOCK if message.padded else int(not tlvs)
        self._send(dso.encode(tlvs, number=message.id, response=True, block=block))

    def _subscribe(self, message: dso.Message) -> None:
        question = push.parse_subscribe(message.primary)
        if message.id in self.topics:
            raise dso.FatalError("the message ID of a subscription comes again")
        rcode = self._service.judge(self, question)
        if rcode != Rcode.NOERROR:
            self._respond(message.id, rcode, padded=message.padded)
            return
        topic = self._service.topic(question)
        if self in topic.members:
            raise dso.FatalError("a subscription comes twice")  # RFC 8765 section 6.2.1
        self.block = self.block or (dso.SERVER_BLOCK if message.padded else 0)
        # Before anything is sent: should that find out that the client has gone, `closed` takes it off again.
        self.topics[message.id] = topic
        topic.members.add(self)
        self._begin(message, [])
        answer = self._service.initial(topic, self.block)
        if answer:
            self.send(answer)

    def _unsubscribe(self, number: int) -> None:
        topic = self.topics.pop(number, None)
        if topic is not None:  # else it may have failed meanwhile, and is to be ignored (RFC 8765 section 6.4.1)
            self._service.leave(self, topic)

    def _respond(self, number: int, rcode: Rcode, *, padded: bool = False) -> None:
        """Refuse, and say for how long (RFC 8765 section 6.2.2)."""
        delay = dso.retry_delay(DELAYS_MS.get(rcode, OTHER_DELAY_MS))
        self._send(dso.encode([delay], number, response=True, rcode=rcode, block=dso.SERVER_BLOCK if padded else 0))

    def dismiss(self, rcode: Rcode, delay_ms: int) -> None:
        """Ask the client to go, and to stay away for some time (RFC 8490 section 6.6.1)."""
        if self.ending or not self.alive:
            return
        if not self._begun:
            self.abort()
            return
        self._send(dso.encode([dso.retry_delay(delay_ms)], rcode=rcode))
        self.ending = time.monotonic() + CLOSE_WITHIN_S
        self._service.quiet(self)

    def overdue(self, now: float) -> bool:
        """Whether the client has to be cut off: it did not go, keeps an idle session, or is not there any more."""
        if self.ending:
            return now > self.ending
        if now - self._last > 2 * self._interval_s:
            return True
        return not self.topics and now - self._active > max(2 * self._inactivity_s, LEAST_GRACE_S)

    def _send(self, wire: bytes) -> None:
        self.send(len(wire).to_bytes(2, "big") + wire)
