# SPDX-License-Identifier: GPL-3.0-or-later
"""How a client's LLQ messages travel: one TLS connection, or datagrams to one address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Protocol, cast

from .tcp import abort, close

if TYPE_CHECKING:
    from typing import Any

WAITING = 256  # datagrams that may wait to be read
# Seconds of silence until TCP looks whether the server is there, between two looks, and how often: routers forget too.
KEEPALIVE = {socket.TCP_KEEPIDLE: 120, socket.TCP_KEEPINTVL: 20, socket.TCP_KEEPCNT: 3}
# A router forgets where datagrams belong within half a minute, and events come after hours. As IKE has it (RFC 3948
# section 4): an octet that every server ignores, so often.
KEEPALIVE_S, KEEPALIVE_OCTET = 20.0, b"\xff"


class Channel(Protocol):
    """One server, until it is closed."""

    reliable: bool  # whether what is sent arrives

    def send(self, wire: bytes) -> None:
        """Send one message; what can't be sent is lost."""

    async def async_receive(self) -> bytes:
        """Return the next message.

        Raises:
            OSError: the connection broke, or nobody is there.
            EOFError: either end closed it.
        """

    async def async_close(self) -> None:
        """Close it; harmless when it is closed."""

    def close(self) -> None:
        """Begin to close it: `async_receive` ends."""

    def abort(self) -> None:
        """Close it at once, with what is still to be sent."""


class Connection:
    """A TLS or TCP connection."""

    reliable = True

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def send(self, wire: bytes) -> None:
        """Send one message."""
        if not self._writer.is_closing():
            self._writer.write(len(wire).to_bytes(2, "big") + wire)

    async def async_receive(self) -> bytes:
        """Return the next message."""
        return await self._reader.readexactly(int.from_bytes(await self._reader.readexactly(2), "big"))

    def close(self) -> None:
        """Close gracefully."""
        close(self._writer)

    def abort(self) -> None:
        """Close without a word, since the path may be dead."""
        abort(self._writer)

    async def async_close(self) -> None:
        """Close, and wait for that."""
        self.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Datagrams(asyncio.DatagramProtocol):
    """A UDP socket that is connected to one address and port."""

    reliable = False

    def __init__(self) -> None:
        self._received: asyncio.Queue[bytes | Exception] = asyncio.Queue(WAITING)
        self._transport: asyncio.DatagramTransport | None = None
        self._keepalive: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to send."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._wait_to_keep_alive()

    def datagram_received(self, data: bytes, _: tuple[str | Any, int]) -> None:
        """Take one; when too many wait, it is lost, and comes again."""
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, or there is no way."""
        self._put(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if self._keepalive is not None:
            self._keepalive.cancel()
        if self._received.full():
            self._received.get_nowait()
        self._put(exc or EOFError())

    def send(self, wire: bytes) -> None:
        """Send one message."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(wire)

    async def async_receive(self) -> bytes:
        """Return the next message."""
        found = await self._received.get()
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Close, after what is still to be sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def async_close(self) -> None:
        """Close."""
        self.close()

    def _wait_to_keep_alive(self) -> None:
        self._keepalive = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._keep_alive)

    def _keep_alive(self) -> None:
        self.send(KEEPALIVE_OCTET)
        self._wait_to_keep_alive()

    def _put(self, found: bytes | Exception) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._received.put_nowait(found)


async def async_datagrams(address: str, port: int) -> Datagrams:
    """Open a socket to this address.

    Raises:
        OSError: there is no way there.
    """
    _, channel = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, remote_addr=(address, port))
    return channel
