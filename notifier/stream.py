# SPDX-License-Identifier: GPL-3.0-or-later
"""One of many TLS or TCP connections that are idle nearly always; it carries DNS messages (RFC 7766 section 8).

asyncio's own TLS keeps a quarter of a megabyte of buffers for each connection. Here it is OpenSSL's state and a few
Python objects: the socket does not block, the loop only tells when it is ready, all connections share one buffer to
read into, and OpenSSL gives its own buffers back between records (SSL_MODE_RELEASE_BUFFERS, which Python sets).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .streams import Streams

_LOGGER = logging.getLogger(__name__)

RECORD = 16_384  # octets of data in one TLS record at most (RFC 8446 section 5.1): one read empties it
# What a socket that does not block says when it can't go on now.
_NOT_READABLE = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)
_NOT_WRITABLE = (ssl.SSLWantWriteError, BlockingIOError)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends a RST (RFC 8490 section 5.3)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the connections of one server may take together, and each of them."""

    streams: int = 20_000
    half_open: int = 512  # handshakes, and clients that nobody knows, at a time; beyond that the oldest gives way
    half_open_per_address: int = 128
    handshake_s: float = 10.0
    request: int = 4_096  # octets of a message from a client
    queue: int = 1_048_576  # octets that wait for a reader, beyond those in the kernel
    queues: int = 67_108_864  # the same for all together: beyond that who has taken nothing for longest is dropped
    stalled_s: float = 15.0  # how long a reader may take nothing while something waits


class Stream:
    """One connection. A subclass says what it does with messages: `opened`, `received`, `closed`."""

    __slots__ = ("_handshaking", "_incoming", "_outgoing", "_progress", "_queued", "_server", "address", "sock")

    def __init__(self, server: Streams, sock: socket.socket, address: str) -> None:
        self.sock: socket.socket | None = sock
        self.address = address
        self._server = server
        self._handshaking = True
        self._incoming = b""
        self._outgoing: deque[bytes | memoryview] | None = None
        self._queued = 0
        self._progress = 0.0

    def opened(self) -> None:
        """The handshake is done."""

    def received(self, wire: bytes) -> None:
        """One message came."""

    def closed(self) -> None:
        """The connection is gone; only called when it was opened."""

    @property
    def alive(self) -> bool:
        """Whether anything can still be sent."""
        return self.sock is not None

    def send(self, data: bytes) -> None:
        """Send octets, lengths included; keep what the kernel does not take. A reader that lags too far is dropped."""
        waited = self._queued
        if len(data) <= RECORD:
            self._give(data)
        else:
            # Piece by piece, each a TLS record: so a reader who is slow, but reads, makes progress that is seen.
            for begin in range(0, len(data), RECORD):
                self._give(memoryview(data)[begin : begin + RECORD])
        # An answer may be longer than the limit: what counts is what had to wait before it.
        if waited > self._server.limits.queue:
            self._server.drop(self)
        self._server.relieve()

    def _give(self, data: bytes | memoryview) -> None:
        if self.sock is None:
            return
        if self._outgoing is None:
            sent = 0
            try:
                sent = self.sock.send(data)
            except _NOT_WRITABLE:
                pass
            except (OSError, ValueError):
                self.abort()
                return
            if sent == len(data):
                return
            data = data[sent:]
            self._outgoing = deque()
            self._progress = time.monotonic()
            self._server.wait_for(self, self.sock)
        self._outgoing.append(data)
        self._queued += len(data)
        self._server.queued += len(data)

    def abort(self) -> None:
        """Close at once by RST: the other end breaks the protocol, or can't keep up."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def close(self) -> None:
        """Close; harmless when it is closed."""
        sock, self.sock = self.sock, None
        if sock is None:
            return
        self._server.forget(self, sock)
        self._server.queued -= self._queued
        self._outgoing, self._queued, self._incoming = None, 0, b""
        with contextlib.suppress(OSError):
            sock.close()
        if not self._handshaking:
            self.closed()

    def stalled(self, now: float) -> bool:
        """Whether something waits, and has for too long without any progress."""
        return self._outgoing is not None and now - self._progress > self._server.limits.stalled_s

    def handshake(self) -> None:
        """Go on with the handshake, as far as it goes now."""
        sock = self.sock
        if sock is None:
            return
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            return  # a few kB into an empty socket; else the time limit ends it
        except (OSError, ValueError) as err:
            _LOGGER.debug("handshake with %s failed: %s", self.address, err)
            self.abort()
            return
        self._handshaking = False
        self._server.established(self, sock)
        self.opened()
        # The first message may have come with the end of the handshake.
        self.readable()

    def readable(self) -> None:
        """Read one record, and hand on the messages that are whole."""
        sock = self.sock
        if sock is None:
            return
        buffer = self._server.buffer
        try:
            size = sock.recv_into(buffer)
        except _NOT_READABLE:
            return
        except (OSError, ValueError):
            self.abort()
            return
        if size == 0:
            self.close()
            return
        data = self._incoming + bytes(memoryview(buffer)[:size])
        self._incoming = b""
        begin, end = 0, len(data)
        while end - begin >= 2 and self.sock is not None:
            length = data[begin] << 8 | data[begin + 1]
            if length > self._server.limits.request:
                self.abort()
                return
            if end - begin < 2 + length:
                break
            self.received(data[begin + 2 : begin + 2 + length])
            begin += 2 + length
        if self.sock is not None:
            self._incoming = data[begin:]

    def writable(self) -> None:
        """Send what waits, as far as the kernel takes it."""
        sock = self.sock
        while sock is not None and self._outgoing:
            try:
                # OpenSSL wants the same octets again after it could not send them: only then they leave the queue.
                size = sock.send(self._outgoing[0])
            except _NOT_WRITABLE:
                return
            except (OSError, ValueError):
                self.abort()
                return
            first = self._outgoing.popleft()
            if size < len(first):
                self._outgoing.appendleft(first[size:])
            self._queued -= size
            self._server.queued -= size
            self._progress = time.monotonic()
            self._server.progressed(self)
        if sock is not None:
            self._outgoing = None
            self._server.served(self, sock)
