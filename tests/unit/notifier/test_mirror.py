# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror beside a real BIND: what it holds, what it tells, and how it gets over what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.update
from dns.rdatatype import RdataType

from notifier.mirror import Change, Mirror
from notifier.notified import Listener
from notifier.upstream import Primary
from tests.certificates import Owner
from tests.named import ADDRESS, Named, free_port, serving

ZONE = dns.name.from_text("bob.members.example.")
REVERSE = dns.name.from_text("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.")
PATIENCE_S = 8.0
A, TXT, PTR, SOA, ANY = (RdataType.make(kind) for kind in ("A", "TXT", "PTR", "SOA", "ANY"))


@dataclass
class Told:
    """What a subscriber was told, without SOAs: they change with each step."""

    steps: list[list[Change]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def __call__(self, changes: Sequence[Change]) -> None:
        self.at.append(time.perf_counter())
        self.steps.append([change for change in changes if change.rdtype != SOA])

    def texts(self) -> list[str]:
        return [text(change) for step in self.steps for change in step]


def text(change: Change) -> str:
    added = "".join(f" +{rdata}" for rdata in change.added)
    removed = "".join(f" -{rdata}" for rdata in change.removed)
    return f"{change.name.relativize(ZONE)} {change.ttl} {change.rdtype.name}{added}{removed}"


@dataclass
class Both:
    """A primary, and a mirror of its zones that it notifies."""

    named: Named
    mirror: Mirror
    told: Told

    def update(self, *lines: str, zone: dns.name.Name = ZONE) -> None:
        message = dns.update.UpdateMessage(zone)
        for line in lines:
            verb, name, *rest = line.split()
            if verb == "add":
                message.add(name, int(rest[0]), *rest[1:])
            else:
                message.delete(name, *rest)
        self.named.update(message)

    def serial(self, zone: dns.name.Name = ZONE) -> int:
        with self.named.connect() as exchange:
            return exchange.lookup(zone, SOA)[0].rdata.serial  # type: ignore[attr-defined,no-any-return]

    async def async_catch_up(self, zone: dns.name.Name = ZONE) -> None:
        wanted = await asyncio.to_thread(self.serial, zone)
        await self.async_until(lambda: (state := self.mirror.state(zone)) is not None and state.serial == wanted)

    @staticmethod
    async def async_until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "not within the time"
            await asyncio.sleep(0.005)

    def texts_at(self, name: str, rdtype: RdataType = ANY) -> list[str]:
        found = self.mirror.lookup(dns.name.from_text(name, ZONE), rdtype)
        return sorted(f"{each.ttl} {rdata}" for each in found for rdata in each.rdatas)


@contextlib.asynccontextmanager
async def mirroring(directory: Path, *, serial: int = 1, expire: int = 1209600) -> AsyncIterator[Both]:
    owner = Owner(directory)
    server = owner.server()
    port = free_port()
    with serving(ZONE, REVERSE, tls=server, notify=port, serial=serial, expire=expire) as named:
        mirror, told = Mirror(), Told()
        listener = Listener(lambda: {named.key.name: named.key}, lambda: {ADDRESS}, mirror.notice)
        await listener.async_start(ADDRESS, port)
        mirror.subscribe(told)
        primary = Primary("zone.bob.members.example", (ADDRESS,), named.tls_port, owner.ca, named.key)
        mirror.keep({ZONE: primary, REVERSE: primary})
        both = Both(named, mirror, told)
        try:
            await both.async_until(
                lambda: not any(state.stale for zone in mirror.zones if (state := mirror.state(zone)))
            )
            told.steps.clear()
            told.at.clear()
            yield both
        finally:
            await mirror.async_stop()
            listener.stop()


async def test_follows_each_step(tmp_path: Path) -> None:
    async with mirroring(tmp_path) as both:
        both.update("add imac 120 A 192.0.2.1", "add imac 60 TXT one")
        both.update("add imac 120 A 192.0.2.2")
        both.update("delete imac TXT", "add imac 60 TXT two")
        both.update("delete imac A 192.0.2.1")
        both.update("add imac 30 TXT two")
        both.update("delete imac")
        await both.async_catch_up()
        assert [[text(change) for change in step] for step in both.told.steps] == [
            ["imac 120 A +192.0.2.1", 'imac 60 TXT +"one"'],
            ["imac 120 A +192.0.2.2"],
            ['imac 60 TXT +"two" -"one"'],
            ["imac 120 A -192.0.2.1"],
            ['imac 30 TXT +"two"'],
            ["imac 120 A -192.0.2.2", 'imac 30 TXT -"two"'],
        ]
        assert both.texts_at("imac") == []


async def test_takes_little_time(tmp_path: Path) -> None:
    async with mirroring(tmp_path) as both:
        took = []
        for number in range(20):
            await asyncio.to_thread(both.update, f"add host{number} 120 A 192.0.2.1")
            answered = time.perf_counter()
            await both.async_until(lambda number=number: len(both.told.at) > number)  # type: ignore[misc]
            took.append((both.told.at[-1] - answered) * 1000)
            await asyncio.sleep(0.02)
        print(f"p50 {statistics.median(took):.1f} ms, max {max(took):.1f} ms")
        assert statistics.median(took) < 50
