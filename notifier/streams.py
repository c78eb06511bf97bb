# SPDX-License-Identifier: GPL-3.0-or-later
"""All TLS or TCP connections of one service: who is taken, who takes too long, who reads too slowly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from .stream import RECORD

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from .stream import Limits, Stream

_LOGGER = logging.getLogger(__name__)

SEND_BUFFER = 65_536  # octets that the kernel may hold for a connection: else it takes megabytes for who does not read
ACCEPT_AT_ONCE = 32  # new connections in one turn of the loop, so that the others have theirs
PAUSE_S = 1.0


class Streams:
    """Listens, and holds all connections of one service."""

    def __init__(self, make: Callable[[Streams, socket.socket, str], Stream], limits: Limits) -> None:
        """Prepare; `make` makes the object of a new connection."""
        self.limits = limits
        self.buffer = bytearray(RECORD)
        self.streams: set[Stream] = set()
        self.queued = 0  # octets that wait for readers
        self.slow = 0  # readers that were dropped
        self.refused = 0  # connections that were not taken
        self._make = make
        self._half_open: dict[Stream, float] = {}  # until when, oldest first
        self._per_address: dict[str, int] = {}
        self._waiting: dict[Stream, None] = {}  # for whom something waits; who took nothing for longest is first
        self._listeners: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None

    def listen(self, address: str, port: int, context: ssl.SSLContext | None) -> int:
        """Serve on one address, without a context by TCP; return the port (which matters when `port` is 0).

        Raises:
            OSError: the port is taken or not allowed.
        """
        self._loop = asyncio.get_running_loop()
        self._context = context
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.create_server((address, port), family=family, backlog=4096)
        listener.setblocking(False)
        self._listeners.append(listener)
        self._loop.add_reader(listener.fileno(), self._accept, listener)
        return int(listener.getsockname()[1])

    def stop_listening(self) -> None:
        """Take no new connections."""
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def close(self) -> None:
        """End everything at once."""
        self.stop_listening()
        for stream in tuple(self.streams):
            stream.abort()

    def sweep(self) -> None:
        """End what takes too long; to be called about once a second."""
        now = time.monotonic()
        for stream, until in tuple(self._half_open.items()):
            if until > now:
                break
            stream.abort()
        for stream in tuple(self._waiting):
            if stream.stalled(now):
                self.drop(stream)

    def drop(self, stream: Stream) -> None:
        """End a reader that is too slow."""
        self.slow += 1
        stream.abort()

    def relieve(self) -> None:
        """Drop the slowest while too much waits for all together: who reads pays for nobody who does not."""
        while self.queued > self.limits.queues:
            self.drop(next(iter(self._waiting)))

    def wait_for(self, stream: Stream, sock: socket.socket) -> None:
        """Have `writable` called when the kernel takes more."""
        self._waiting[stream] = None
        self._loop.add_writer(sock.fileno(), stream.writable)

    def progressed(self, stream: Stream) -> None:
        """A reader has taken something of what waits."""
        self._waiting[stream] = self._waiting.pop(stream)

    def served(self, stream: Stream, sock: socket.socket) -> None:
        """Nothing waits any more."""
        self._waiting.pop(stream, None)
        self._loop.remove_writer(sock.fileno())

    def established(self, stream: Stream, sock: socket.socket) -> None:
        """The handshake is done, or the client that was `suspect` has proved who it is."""
        if self._half_open.pop(stream, None) is not None:
            self._uncount(stream)
            self._loop.add_reader(sock.fileno(), stream.readable)

    def suspect(self, stream: Stream) -> None:
        """Count a connection as half open again: its client, whom nobody knows yet, must not take others' place."""
        self._count(stream)

    def forget(self, stream: Stream, sock: socket.socket) -> None:
        """The stream is about to close."""
        self.streams.discard(stream)
        self._waiting.pop(stream, None)
        if self._half_open.pop(stream, None) is not None:
            self._uncount(stream)
        with contextlib.suppress(ValueError, OSError):
            self._loop.remove_writer(sock.fileno())
            self._loop.remove_reader(sock.fileno())

    def _count(self, stream: Stream) -> None:
        self._half_open[stream] = time.monotonic() + self.limits.handshake_s
        self._per_address[stream.address] = self._per_address.get(stream.address, 0) + 1

    def _uncount(self, stream: Stream) -> None:
        left = self._per_address.get(stream.address, 1) - 1
        if left:
            self._per_address[stream.address] = left
        else:
            self._per_address.pop(stream.address, None)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                plain, where = listener.accept()
            except BlockingIOError:
                return
            except OSError as err:
                # Out of descriptors. The listener stays ready, and would keep the loop busy until others have left.
                _LOGGER.warning("no connection can be taken for %g s: %s", PAUSE_S, err)
                self._loop.remove_reader(listener.fileno())
                self._loop.call_later(PAUSE_S, self._resume, listener)
                return
            self._take(plain, str(where[0]))

    def _give_way(self, oldest_first: Iterator[Stream]) -> None:
        self.refused += 1
        next(oldest_first).abort()

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _take(self, plain: socket.socket, address: str) -> None:
        limits = self.limits
        begun = self._per_address.get(address, 0)
        if len(self.streams) >= limits.streams:
            self.refused += 1
            plain.close()
            return
        # Who comes now is as likely to be honest as any, and done in a moment then: the one that takes longest goes.
        if begun >= limits.half_open_per_address:
            self._give_way(stream for stream in self._half_open if stream.address == address)
        elif len(self._half_open) >= limits.half_open:
            self._give_way(iter(self._half_open))
        try:
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock = plain
            if self._context is not None:
                sock = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):  # it has gone already
            plain.close()
            return
        stream = self._make(self, sock, address)
        self.streams.add(stream)
        self._count(stream)
        if self._context is None:
            stream.handshake()
        else:
            self._loop.add_reader(sock.fileno(), stream.handshake)
