# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of long-lived queries at one server (RFC 8764)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.tsig

from . import llq, tsig
from .llq import Error, Llq, LlqError, Opcode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .llq_channel import Channel
    from .push import Change, Question

_LOGGER = logging.getLogger(__name__)

LEASE_S = 900  # what is asked for
REFRESH_AT = 0.8  # of the lease (RFC 8764 section 7)
# By UDP only a refresh tells that a server has begun anew, or has given us up while we were away: this one comes early,
# so that we are never told later than polling would tell us.
REFRESH_WITHIN_S = 120.0
ANSWER_WITHIN_S = 14.0  # over a connection
QUIET_S = 2.5  # after a truncated answer: longer than an event takes that has to be sent again once
REMEMBERED = 64  # events of one LLQ that are known when they come again


@dataclass(slots=True, eq=False)
class _Asked:
    """One question. `id` is 0 until the server has said one, `lease` until it has granted it."""

    question: Question
    id: int = 0
    lease: int = 0
    number: int = 0  # message ID of the request that has no answer yet; 0 for none
    mac: bytes = b""
    tries: int = 0
    due: float = 0.0  # when to try again, or to refresh
    seen: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class LlqSession:
    """Several LLQs at one server, from the first setup to the loss of any of them."""

    def __init__(
        self,
        channel: Channel,
        key: dns.tsig.Key | None,
        on_changes: Callable[[Sequence[Change]], None],
        on_synced: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        """Remember all; with a key, every message is signed, and has to be.

        `on_refused` is told of each refusal, and when what was refused is granted after all.
        """
        self.synced = False
        self.stay_away_s: float | None = None
        self.refusals: dict[Question, str] = {}
        self.refused = False  # whether it has ended since nothing at all was granted
        self.again_s: float | None = None  # how long to wait before what was refused is asked again
        self._channel = channel
        self._key = key
        self._on_changes = on_changes
        self._on_synced = on_synced
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._waits_s = (ANSWER_WITHIN_S,) if channel.reliable else llq.WAITS_S
        self._next_id = random.randrange(1, 0x10000)  # noqa: S311 - the LLQ-ID and the signature are what is secret
        self._asked: dict[Question, _Asked] = {}
        self._sync_at = 0.0  # when all first answers are taken for complete
        self._closing = False
        self._waiting: asyncio.Timeout | None = None

    async def async_hold(self, questions: Sequence[Question]) -> None:
        """Set up, and take what comes until either end closes, or all is refused.

        Raises:
            OSError: the server does not answer, or has forgotten us.
            EOFError: it closed the connection.
        """
        try:
            self.subscribe(questions)
            while not self._closing and (self._asked or not self.refusals):
                try:
                    async with asyncio.timeout_at(self._wake_at()) as self._waiting:
                        wire = await self._channel.async_receive()
                except TimeoutError:
                    self._act()
                else:
                    self._take(wire)
                    self._act()
            if not self._closing:
                self.refused, self.stay_away_s = True, self.again_s
        except (OSError, EOFError):
            closing = self._closing
            self.abort()
            if not closing:
                raise
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self.close()
            await self._channel.async_close()

    def subscribe(self, questions: Iterable[Question]) -> None:
        """Ask for more."""
        for question in questions:
            asked = self._asked[question] = _Asked(question)
            self._request(asked)
        if self._waiting is not None and not self._waiting.expired():
            with contextlib.suppress(RuntimeError):  # it has ended already, and the next will know
                self._waiting.reschedule(self._wake_at())

    def unsubscribe(self, question: Question) -> None:
        """End one LLQ (RFC 8764 section 7.2)."""
        self.refusals.pop(question, None)
        asked = self._asked.pop(question, None)
        if asked is not None and asked.lease:
            self._send(asked, Llq(Opcode.REFRESH, asked.id, 0))

    def close(self) -> None:
        """End all."""
        if not self._closing:
            for question in tuple(self._asked):
                self.unsubscribe(question)
            self._closing = True
            self._channel.close()

    def abort(self) -> None:
        """End all at once. By datagrams the server is told, which takes no time; a connection says it by its end."""
        if self._channel.reliable:
            self._asked.clear()
        self.close()
        self._channel.abort()

    def _wake_at(self) -> float | None:
        dues = [asked.due for asked in self._asked.values()]
        return min([*dues, *([self._sync_at] if self._sync_at else [])], default=None)

    def _act(self) -> None:
        """Do what is due."""
        now = self._loop.time()
        for asked in tuple(self._asked.values()):
            if asked.due <= now:
                self._overdue(asked)
        if self._sync_at and self._sync_at <= now:
            self._sync_at = 0.0
            self.synced = True
            self._on_synced()

    def _overdue(self, asked: _Asked) -> None:
        if asked.tries >= len(self._waits_s):
            raise ConnectionError(None, "no answer")
        self._request(asked)

    def _request(self, asked: _Asked) -> None:
        """Send what is to be sent now: a setup, the response to a challenge, a refresh; and say when again."""
        self._send(asked, Llq(Opcode.REFRESH if asked.lease else Opcode.SETUP, asked.id, LEASE_S))
        asked.due = self._loop.time() + self._waits_s[asked.tries]
        asked.tries += 1

    def _send(self, asked: _Asked, option: Llq) -> None:
        self._next_id = self._next_id % 0xFFFF + 1
        wire, _ = llq.encode(self._next_id, [asked.question], [option])
        asked.number, asked.mac = self._next_id, b""
        if self._key is not None:
            wire, asked.mac = tsig.sign(wire, self._key)
        self._channel.send(wire)

    def _take(self, wire: bytes) -> None:
        """Take one message; what is none, or not the server's, is as if it had not come."""
        try:
            message = llq.parse(wire)
        except LlqError as err:
            _LOGGER.debug("ignored: %s", err)
            return
        if not message.response:
            return
        option = message.llqs[0] if len(message.llqs) == 1 else None
        if option is not None and option.opcode == Opcode.EVENT:
            self._event(wire, message, option)
            return
        asked = next((each for each in self._asked.values() if each.number == message.id != 0), None)
        if asked is None:
            return
        if option is None or (message.rcode and not message.signed):
            # An error that the server could not sign; a forged one does no worse than to send us elsewhere.
            self._refuse(asked, f"RCODE {message.rcode}")
        elif self._genuine(wire, asked.mac):
            self._answered(asked, message, option)

    def _genuine(self, wire: bytes, mac: bytes = b"") -> bool:
        if self._key is None:
            return True
        try:
            found = dns.message.from_wire(wire, keyring={self._key.name: self._key}, request_mac=mac)
        except (dns.exception.DNSException, ValueError) as err:
            _LOGGER.debug("ignored: %s", err or type(err).__name__)
            return False
        return bool(found.had_tsig)

    def _event(self, wire: bytes, message: llq.Message, option: Llq) -> None:
        asked = next((each for each in self._asked.values() if each.lease and each.id == option.id), None)
        # Before we know that it is granted, an event would come before what it is a change to: it comes again.
        if asked is None or not self._genuine(wire):
            return
        if not self._channel.reliable:
            self._channel.send(llq.acknowledgment(message, option))
            if message.id in asked.seen:
                return
            asked.seen.append(message.id)
        if self._sync_at:
            self._sync_at = self._loop.time() + QUIET_S
        self._on_changes(message.changes)

    def _answered(self, asked: _Asked, message: llq.Message, option: Llq) -> None:
        asked.number = 0
        if option.error != Error.NO_ERROR:
            if asked.lease:
                raise ConnectionError(None, f"it does not know our question any more ({_error_name(option)})")
            if option.error == Error.SERV_FULL:
                self.again_s = float(option.lease)
            self._refuse(asked, _error_name(option))
            return
        if not option.lease or (asked.lease and option.opcode != Opcode.REFRESH):
            return
        asked.tries = 0
        if option.opcode == Opcode.SETUP and not asked.id and not self._channel.reliable:
            asked.id = option.id
            self._request(asked)  # the response to the challenge
            return
        granted = not asked.lease
        asked.id, asked.lease = option.id, option.lease
        after_s = asked.lease * REFRESH_AT
        asked.due = self._loop.time() + (after_s if self._channel.reliable else min(after_s, REFRESH_WITHIN_S))
        if granted:
            if self.refusals.pop(asked.question, None) is not None:
                self._on_refused()
            self._on_changes(message.changes)
            if message.truncated:
                self._sync_at = self._loop.time() + QUIET_S
            self._complete()

    def _refuse(self, asked: _Asked, why: str) -> None:
        if asked.lease:
            raise ConnectionError(None, f"it refuses to go on ({why})")
        del self._asked[asked.question]
        self.refusals[asked.question] = why
        self._on_refused()
        self._complete()

    def _complete(self) -> None:
        """See whether the first answers to all questions are here."""
        if self._asked and all(asked.lease for asked in self._asked.values()) and not self._sync_at:
            self._sync_at = self._loop.time()


def _error_name(option: Llq) -> str:
    try:
        return Error(option.error).name.replace("_", "-")
    except ValueError:
        return f"error {option.error}"
