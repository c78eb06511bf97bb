# SPDX-License-Identifier: GPL-3.0-or-later
"""The DNS server on loopback: UDP and TCP in front of `magic` (RFC 1035 section 4.2, RFC 7766)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
from ansible_collections.btmm.fleet.plugins.module_utils.tcp import write_bounded

from .errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dns.message import Message

_LOGGER = logging.getLogger(__name__)

MAX_RUNNING = 256  # questions at a time, from all of this host's programs together
MAX_STREAMS = 64  # TCP connections at a time
TCP_IDLE_S = 10.0  # RFC 7766 section 6.2.3: of the order of seconds
UDP_PLAIN = 512  # RFC 1035 section 4.2.1, when the asker does not speak EDNS
UDP_MOST = 1232  # what fits the IPv6 minimum MTU; loopback has room for more, but askers expect no more


class Stub:
    """Binds, parses, limits; hands well-formed questions to `answer`."""

    def __init__(self, answer: Callable[[Message], Awaitable[Message]]) -> None:
        self._answer = answer
        self._running: set[asyncio.Task[None]] = set()
        self._streams = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def async_start(self, address: str, port: int) -> int:
        """Serve on `address`; return the port (which matters when `port` is 0).

        Raises:
            LinkError: the port is taken or not allowed.
        """
        loop = asyncio.get_running_loop()
        try:
            transport, self._datagrams = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=(address, port)
            )
            self._transport = transport
            port = transport.get_extra_info("sockname")[1]
            self._server = await asyncio.start_server(self._async_stream, address, port)
        except OSError as err:
            await self.async_stop()
            raise LinkError(f"the stub can't listen on {address} port {port}: {err.strerror or err}") from err
        return port

    async def async_stop(self) -> None:
        """Stop serving; questions under way go unanswered."""
        if self._transport is not None:
            self._transport.close()
            # The port is free only when the loop has closed the socket; the next instance binds it at once.
            await self._datagrams.closed.wait()
        if self._server is not None:
            self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def spawn(self, wire: bytes, send: Callable[[Message, bytes], None]) -> None:
        """Answer one message in a task of its own; `send` gets the question and the rendered answer.

        Over the limit, or for what is no question, nothing is sent: the asker tries again.
        """
        query = parse(wire)
        if query is None:
            return
        if len(self._running) >= MAX_RUNNING:
            _LOGGER.warning("more than %d questions at once: one is dropped", MAX_RUNNING)
            return

        async def async_run() -> None:
            send(*await self._async_render(query))

        task = asyncio.create_task(async_run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _async_render(self, query: Message) -> tuple[Message, bytes]:
        try:
            answer = await self._answer(query)
            return query, answer.to_wire(max_size=65535)
        except Exception:
            # The boundary where a fault of ours must cost one answer, not the server.
            _LOGGER.exception("question %s failed", query.question)
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.SERVFAIL)
            return query, answer.to_wire()

    async def _async_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(_: Message, wire: bytes) -> None:
            write_bounded(writer, len(wire).to_bytes(2, "big") + wire)

        self._streams += 1
        try:
            while self._streams <= MAX_STREAMS:
                async with asyncio.timeout(TCP_IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    wire = await reader.readexactly(size)
                self.spawn(wire, send)
        except TimeoutError:
            writer.transport.abort()  # what was not read until now is not waited for
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._streams -= 1
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's datagram transport is no instance of the class that documents it.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        def send(query: Message, wire: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.sendto(fit(query, wire), addr)

        self._stub.spawn(data, send)


def parse(wire: bytes) -> Message | None:
    """Return the question in `wire`; None when it is noise, or an answer (two stubs must not talk for ever)."""
    try:
        message = dns.message.from_wire(wire, keyring=False)
    except (dns.exception.DNSException, ValueError):
        return None
    return None if message.flags & dns.flags.QR else message


def fit(query: Message, wire: bytes) -> bytes:
    """Return `wire`, or when it is too large for the asker's UDP the bare question with TC set (RFC 2181 section 9)."""
    limit = UDP_PLAIN if query.edns < 0 else min(max(query.payload, UDP_PLAIN), UDP_MOST)
    if len(wire) <= limit:
        return wire
    short = dns.message.make_response(query, recursion_available=True)
    short.flags |= dns.flags.TC
    return short.to_wire()
