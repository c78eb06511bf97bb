# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that hears charon, at a socket that speaks just enough of vici."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from watcher import charon, charon_events
from watcher.charon_events import Events

REGISTER, CONFIRM, EVENT = 3, 5, 7


def packet(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!IB", 1 + len(body), kind) + body


class Charon:
    """Confirms every registration; `connections` are those that are open."""

    def __init__(self) -> None:
        self.registered = 0
        self.connections: set[asyncio.StreamWriter] = set()

    async def async_serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        with contextlib.suppress(OSError, EOFError):
            while True:
                size = struct.unpack("!I", await reader.readexactly(4))[0]
                self.registered += (await reader.readexactly(size))[0] == REGISTER
                writer.write(packet(CONFIRM))
        self.connections.discard(writer)
        writer.close()

    def say(self, body: bytes) -> None:
        for writer in self.connections:
            writer.write(packet(EVENT, body))


@pytest.fixture
async def vici(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Charon]:
    made = Charon()
    monkeypatch.setattr(charon, "SOCKET", str(tmp_path / "vici"))
    server = await asyncio.start_unix_server(made.async_serve, tmp_path / "vici")
    yield made
    server.close()


async def async_until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def threads() -> int:
    return sum(each.name == "charon events" for each in threading.enumerate())


async def test_each_event_is_told_and_a_stop_ends_thread_and_connection(vici: Charon) -> None:
    told: list[int] = []
    before = threads()
    events = Events(lambda: told.append(1))
    events.start()
    await async_until(lambda: vici.registered == 2)
    vici.say(b"\x0aike-updown")
    await async_until(lambda: len(told) == 2)
    events.stop()
    await async_until(lambda: threads() == before and not vici.connections)
    assert len(told) == 2


async def test_what_vici_cannot_read_is_told_once_and_ends_nothing(
    vici: Charon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(charon_events, "RETRY_S", 0.05)
    events = Events(lambda: None)
    events.start()
    for connection in (1, 2):
        await async_until(lambda number=connection: vici.registered >= 2 * number and vici.connections)  # type: ignore[misc]
        vici.say(b"\x0aike-updown" + b"\x01\x09short")
    await async_until(lambda: vici.registered >= 6)
    events.stop()
    assert len([each for each in caplog.records if "can't be read" in each.getMessage()]) == 1
