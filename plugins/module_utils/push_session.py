# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of one DSO session with Push subscriptions (RFC 8490, RFC 8765)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from . import dso, push
from .tcp import abort, close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .push import Change, Question

ANSWER_WITHIN_S = 30.0  # RFC 8490 section 5.1.1
# What is asked for: a home router may forget a silent connection after a few minutes.
WISHED = dso.Keepalive(inactivity_ms=15_000, interval_ms=240_000)


class Session:
    """One DSO session, from its first message to its end."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        on_changes: Callable[[Sequence[Change]], None],
        on_synced: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        """Remember all; `on_refused` is told of each refusal, and when what was refused is granted after all."""
        self.synced = False
        self.stay_away_s: float | None = None
        self.refusals: dict[Question, str] = {}
        self.refused = False  # whether it has ended since nothing at all was granted
        self.again_s: float | None = None  # how long to wait before what was refused is asked again
        self._reader, self._writer = streams
        self._on_changes = on_changes
        self._on_synced = on_synced
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._last_id = 0
        self._unanswered: set[int] = set()
        self._keepalives: set[int] = set()  # asked, not answered
        self._barrier = 0  # the Keepalive whose answer says that all first answers are here
        self._active: dict[int, Question] = {}
        self._ended: set[int] = set()  # subscriptions that are no more; what their end crossed may speak of them
        self._early: dict[Question, None] | None = {}  # asked for before there is a session
        self._interval_s = dso.DEFAULT_TIMEOUT_MS / 1000
        self._last = self._loop.time()

    async def async_hold(self, questions: Sequence[Question]) -> None:
        """Establish the session, subscribe, and take what comes until either end closes.

        Raises:
            DsoError: the server breaks the protocol.
            OSError: the connection broke.
            EOFError: the server closed it.
        """
        try:
            self._keepalive()
            await self._async_take()
            if self._keepalives:
                raise dso.FatalError("the first message does not answer the first request")
            early, self._early = self._early or {}, None
            self.subscribe(dict.fromkeys([*questions, *early]))
            while not self._writer.is_closing():
                await self._async_take()
                if self.refusals and not self._active:
                    self.refused, self.stay_away_s = True, self.again_s
                    return
        except (dso.DsoError, OSError, EOFError):
            closing = self._writer.is_closing()
            self.abort()
            if not closing:
                raise
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def subscribe(self, questions: Iterable[Question]) -> None:
        """Ask for more, and then for a sign that the answers to it are complete.

        A server acts on messages in their order (RFC 8490 section 6.1), and tells of what is there directly after it
        accepts a subscription (RFC 8765 section 6.3): the answer to a Keepalive comes after all that.
        """
        if self._early is not None:  # nothing is said before the first answer (RFC 8490 section 5.1)
            self._early.update(dict.fromkeys(questions))
            return
        for question in questions:
            number = self._number()
            self._active[number] = question
            self._send(dso.encode([push.subscribe(question)], number, block=dso.CLIENT_BLOCK))
        self._barrier = self._keepalive()

    def unsubscribe(self, question: Question) -> None:
        """End one subscription."""
        self.refusals.pop(question, None)
        if self._early is not None:
            self._early.pop(question, None)
        number = next((number for number, each in self._active.items() if each == question), None)
        if number is not None:
            del self._active[number]
            self._ended.add(number)
            self._send(dso.encode([push.unsubscribe(number)], block=dso.CLIENT_BLOCK))

    def close(self) -> None:
        """Close gracefully."""
        close(self._writer)

    def abort(self) -> None:
        """End it at once, since the path may be dead."""
        abort(self._writer)

    def _keepalive(self) -> int:
        number = self._number()
        self._keepalives.add(number)
        self._send(dso.encode([dso.keepalive(WISHED)], number, block=dso.CLIENT_BLOCK))
        return number

    def _number(self) -> int:
        """Return the ID for a request, which nothing that is going on has."""
        self._last_id = self._last_id % 0xFFFF + 1
        while self._last_id in self._active or self._last_id in self._unanswered:
            self._last_id = self._last_id % 0xFFFF + 1
        self._ended.discard(self._last_id)
        self._unanswered.add(self._last_id)
        return self._last_id

    def _send(self, wire: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(len(wire).to_bytes(2, "big") + wire)
            self._last = self._loop.time()

    async def _async_take(self) -> None:
        """Take one message; when none comes for the interval, see whether the server is still there."""
        while True:
            waits_s = ANSWER_WITHIN_S if self._keepalives else self._interval_s
            try:
                async with asyncio.timeout_at(self._last + waits_s):
                    size = int.from_bytes(await self._reader.readexactly(2), "big")
            except TimeoutError:
                if self._keepalives:
                    raise ConnectionError(None, "no answer") from None
                self._keepalive()
            else:
                wire = await self._async_rest(size)
                self._last = self._loop.time()
                self._handle(dso.parse(wire))
                return

    async def _async_rest(self, size: int) -> bytes:
        """Return a message whose length is here; a time of its own, since who gives up in between knows no next one."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await self._reader.readexactly(size)
        except TimeoutError:
            raise ConnectionError(None, "a message did not end") from None

    def _handle(self, message: dso.Message) -> None:
        if message.response:
            self._responded(message)
        elif not message.unidirectional:
            raise dso.FatalError("a request from the server, which has none to make")
        elif message.primary.type == push.Type.PUSH:
            self._on_changes(push.parse_push(message))
        elif message.primary.type == dso.Type.KEEPALIVE:
            self._interval_s = _seconds(dso.dictated(message))
        elif message.primary.type == dso.Type.RETRY_DELAY:
            self.stay_away_s = (dso.parse_retry_delay(message) or 0) / 1000
            self.close()
        else:
            raise dso.FatalError(f"an unknown message of type {message.primary.type}")

    def _responded(self, message: dso.Message) -> None:
        if message.id in self._unanswered:
            self._unanswered.discard(message.id)
        elif not message.rcode or (message.id not in self._active and message.id not in self._ended):
            raise dso.FatalError("a response to nothing that was asked")  # RFC 8490 section 5.5.2
        if message.id in self._keepalives:
            self._keepalives.discard(message.id)
            if message.rcode:
                raise dso.FatalError(f"a Keepalive is refused with {rcode_name(message.rcode)}")
            self._interval_s = _seconds(dso.dictated(message))
            if message.id == self._barrier and (self._active or not self.refusals):
                self.synced = True
                self._on_synced()
        elif message.rcode and message.id in self._active:
            # At once, or later, when what it was granted for has ended (RFC 8490 section 5.6).
            question = self._active.pop(message.id)
            self.refusals[question] = rcode_name(message.rcode)
            delay_ms = dso.parse_retry_delay(message)
            self.again_s = None if delay_ms is None else delay_ms / 1000
            self._on_refused()
        elif message.id in self._active and self.refusals.pop(self._active[message.id], None) is not None:
            self._on_refused()


def _seconds(timeouts: dso.Keepalive) -> float:
    return timeouts.interval_ms / 1000


def rcode_name(rcode: int) -> str:
    """Return the mnemonic of an RCODE, for people."""
    try:
        return dso.Rcode(rcode).name
    except ValueError:
        return f"RCODE {rcode}"
