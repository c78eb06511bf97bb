# SPDX-License-Identifier: GPL-3.0-or-later
"""One TLS connection to each zone server, shared by all questions and updates (RFC 7858, RFC 7766, RFC 8945)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import dns.entropy
import dns.opcode
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils import tcp
from ansible_collections.btmm.fleet.plugins.module_utils.update import ServerFailed, UpdateError, read_response

from .errors import ZoneServerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dns.message import Message

    from .config import Config, Server

TIMEOUT_S = 2.0
FAILURE_LASTS_S = 2.0
PRIMARY_AGAIN_S = 60.0  # while a secondary answers in its place, one question in this time may find the primary silent
IDLE_S = 25.0  # BIND closes at 30 s by default: going first, we never write into a closing connection


class _ConnectionLostError(Exception):
    """The server closed the connection, which it may do at any time between questions (RFC 7766 section 6.2.3)."""


class ZoneClient:
    """Sends updates to the zone's primary, and questions to it or, when it is away, to a secondary.

    `answered` is called after every answer.
    """

    def __init__(self, config: Config, answered: Callable[[], None] = lambda: None) -> None:
        self._answered = answered
        self._channels = [_Channel(server, config.key, config.ca) for server in (config.server, *config.secondaries)]
        self._best = 0
        self._primary_again = 0.0

    async def async_exchange(self, message: Message) -> Message:
        """Sign `message`, send it and return the verified answer.

        Raises:
            ZoneServerError: no server answers within 2 s each, or none has the certificate that it should have.
            UpdateError: the server refuses, fails or answers wrongly; one of its subclasses.
        """
        answer = await self._async_exchange(message)
        self._answered()
        return answer

    async def _async_exchange(self, message: Message) -> Message:
        primary, *others = self._channels
        if message.opcode() == dns.opcode.UPDATE or not others:
            return await primary.async_exchange(message)
        loop = asyncio.get_running_loop()
        if self._best and loop.time() >= self._primary_again:
            self._best = 0
        failure: ZoneServerError | UpdateError | None = None
        for index in (self._best, *(each for each in range(len(self._channels)) if each != self._best)):
            try:
                answer = await self._channels[index].async_exchange(message)
            except ZoneServerError as err:
                failure = err if failure is None or index == 0 else failure
                if index == 0:
                    self._primary_again = loop.time() + PRIMARY_AGAIN_S
            except UpdateError as err:
                # What the primary says counts, if it has the zone. A secondary may be behind: without it, or our key.
                if index == 0 and not isinstance(err, ServerFailed):
                    raise
                failure = failure or err
            else:
                self._best = index
                return answer
        assert failure is not None  # noqa: S101 - for the type checker
        raise failure

    def drop(self) -> None:
        """Forget the connections, as after a change of address; questions under way fail or are asked again."""
        self._best = 0
        for channel in self._channels:
            channel.drop()


class _Channel:
    """One server. Connects when first asked, closes when idle, tries the server's addresses in turn."""

    def __init__(self, server: Server, key: dns.tsig.Key, ca: Path) -> None:
        self._server = server
        self._key = key
        self._ca = ca
        self._lock = asyncio.Lock()
        self._connection: _Connection | None = None
        self._first = 0
        self._failure: tuple[float, ZoneServerError] | None = None

    async def async_exchange(self, message: Message) -> Message:
        while True:
            connection, fresh = await self._async_connection()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await connection.async_exchange(message, self._key, self.where)
            except TimeoutError as err:
                # The path may be dead, with a NAT's state or a moved address: only a new connection can tell.
                connection.abort()
                raise ZoneServerError(f"{self.where} does not answer: check that it runs") from err
            except _ConnectionLostError as err:
                if fresh:
                    raise ZoneServerError(f"{self.where} closes the connection ({err}): check its log") from err

    def drop(self) -> None:
        self._failure = None
        if self._connection is not None:
            self._connection.abort()

    @property
    def where(self) -> str:
        """How messages name the server."""
        return f"the zone server {self._server.name} ({', '.join(self._server.addresses)} port {self._server.port})"

    async def _async_connection(self) -> tuple[_Connection, bool]:
        """Return a live connection, and whether it was made just now."""
        async with self._lock:
            if self._connection is not None and not self._connection.closed:
                return self._connection, False
            loop = asyncio.get_running_loop()
            if self._failure is not None and loop.time() < self._failure[0]:
                # A resolver asks a server that is away many times in a row: its program shall not wait for each.
                raise self._failure[1]
            try:
                self._connection = await self._async_connect()
            except ZoneServerError as err:
                self._failure = (loop.time() + FAILURE_LASTS_S, err)
                raise
            return self._connection, True

    async def _async_connect(self) -> _Connection:
        try:
            context = ssl.create_default_context(cafile=str(self._ca))
        except OSError as err:
            raise ZoneServerError(
                f"the owner CA {self._ca} can't be read ({err}): run the identity role again"
            ) from err
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["dot"])
        causes = []
        addresses = self._server.addresses
        for step in range(len(addresses)):
            index = (self._first + step) % len(addresses)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    streams = await asyncio.open_connection(
                        addresses[index], self._server.port, ssl=context, server_hostname=self._server.name
                    )
            except TimeoutError:
                causes.append("no answer")
            except ssl.SSLCertVerificationError as err:
                causes.append(f"its certificate is not trusted: {err.verify_message}")
            except OSError as err:
                causes.append(err.strerror or str(err))
            else:
                self._first = index
                return _Connection(*streams)
        why = ", ".join(dict.fromkeys(causes))
        raise ZoneServerError(f"{self.where} can't be reached: {why}; see that it runs, and lets us in there")


class _Connection:
    """A stream of length-prefixed messages, pipelined by message id (RFC 7766 section 6.2.1)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.TimerHandle | None = None
        self._reading = self._loop.create_task(self._async_read())
        self.closed = False

    async def async_exchange(self, message: Message, key: dns.tsig.Key, where: str) -> Message:
        message.id = self._free_id()
        message.use_tsig(key, original_id=message.id)
        # By default the payload that EDNS tells of is the limit, and that is one of UDP.
        wire = message.to_wire(max_size=65535, prepend_length=True)
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._pending[message.id] = answer
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            self._writer.write(wire)
            tcp.acknowledge_at_once(self._writer)
            return read_response(await answer, message, where)
        finally:
            self._pending.pop(message.id, None)
            if not self._pending and not self.closed:
                self._idle = self._loop.call_later(IDLE_S, self.close)

    def close(self) -> None:
        self._fail("closed")
        self._reading.cancel()

    def abort(self) -> None:
        self.close()
        tcp.abort(self._writer)

    def _free_id(self) -> int:
        while (number := dns.entropy.random_16()) in self._pending:
            pass
        return number

    def _fail(self, cause: str) -> None:
        if self.closed:
            return
        self.closed = True
        if self._idle is not None:
            self._idle.cancel()
        tcp.close(self._writer)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(_ConnectionLostError(cause))

    async def _async_read(self) -> None:
        try:
            while True:
                size = int.from_bytes(await self._reader.readexactly(2), "big")
                wire = await self._reader.readexactly(size)
                tcp.acknowledge_at_once(self._writer)
                answer = self._pending.get(int.from_bytes(wire[:2], "big"))
                if answer is not None and not answer.done():
                    answer.set_result(wire)
        except (OSError, asyncio.IncompleteReadError) as err:
            self._fail(getattr(err, "strerror", None) or "end of stream")
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
