# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is dropped when readers do not take what is sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from notifier.stream import Limits, Stream
from notifier.streams import Streams

MUCH = 4_000_000  # more than the kernel holds


@contextlib.contextmanager
def connected(streams: Streams) -> Iterator[tuple[Stream, socket.socket]]:
    own, peer = socket.socketpair()
    own.setblocking(False)
    stream = Stream(streams, own, "192.0.2.1")
    stream._handshaking = False
    try:
        yield stream, peer
    finally:
        stream.close()
        peer.close()


def beginning() -> Streams:
    streams = Streams(Stream, Limits())
    streams._loop = asyncio.get_running_loop()
    return streams


async def test_who_reads_does_not_pay_for_who_does_not() -> None:
    streams = beginning()
    with connected(streams) as (stalled, _), connected(streams) as (reader, peer):
        stalled.send(bytes(MUCH))
        assert stalled.alive
        streams.limits = Limits(queues=1)
        reader.send(b"news")
        assert (stalled.alive, reader.alive, streams.slow, streams.queued) == (False, True, 1, 0)
        assert peer.recv(100) == b"news"


async def test_who_took_nothing_for_longest_goes_first() -> None:
    streams = beginning()
    with connected(streams) as (slow, peer), connected(streams) as (stalled, _), connected(streams) as (third, _):
        for stream in (slow, stalled):
            stream.send(bytes(MUCH))
        peer.recv(MUCH)
        slow.writable()
        streams.limits = Limits(queues=streams.queued)
        third.send(bytes(MUCH))
        assert (slow.alive, stalled.alive, third.alive, streams.slow) == (True, False, True, 1)
