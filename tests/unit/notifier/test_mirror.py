# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror beside a real BIND: what it holds, what it tells, and how it gets over what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.tsig
import dns.update
import pytest
from dns.rdatatype import RdataType

from notifier import secondary, upstream
from notifier.mirror import Change, Mirror
from notifier.notified import Listener, parse
from notifier.transfer import Transfer
from notifier.upstream import Primary
from tests.certificates import Owner
from tests.named import ADDRESS, Named, free_port, serving

ZONE = dns.name.from_text("bob.members.example.")
REVERSE = dns.name.from_text("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.")
PATIENCE_S = 20.0
A, TXT, PTR, SOA, ANY = (RdataType.make(kind) for kind in ("A", "TXT", "PTR", "SOA", "ANY"))

NOTIFY = (
    (query := dns.message.make_query(ZONE, SOA, flags=0)).to_wire()[:2]
    + bytes([dns.opcode.NOTIFY << 3])
    + query.to_wire()[3:]
)


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
    primary: Primary
    lost: Listener

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
        both = Both(named, mirror, told, primary, listener)
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
        assert statistics.median(took) < 1000  # by NOTIFY: the primary is asked by itself every 20 s


async def test_lookup_and_zone_of(tmp_path: Path) -> None:
    async with mirroring(tmp_path) as both:
        both.update("add Imac 120 A 192.0.2.1", "add imac 60 TXT one", "add imac 60 TXT two")
        pointer = f"1.{REVERSE}"
        both.update(f"add {pointer} 120 PTR imac.{ZONE}", zone=REVERSE)
        await both.async_catch_up()
        await both.async_catch_up(REVERSE)
        assert both.texts_at("IMAC", A) == ["120 192.0.2.1"]
        assert both.texts_at("imac") == ["120 192.0.2.1", '60 "one"', '60 "two"']
        assert both.texts_at("imac", PTR) == both.texts_at("none") == []
        assert both.texts_at(pointer) == [f"120 imac.{ZONE}"]
        assert both.mirror.zone_of(dns.name.from_text("a.b.IMAC", ZONE)) == ZONE
        assert both.mirror.zone_of(dns.name.from_text(pointer)) == REVERSE
        assert both.mirror.zone_of(dns.name.from_text("example.")) is None
        assert both.mirror.lookup(ZONE, SOA, dns.rdataclass.CH) == ()
        assert [each.rdtype for each in both.mirror.lookup(ZONE, SOA, dns.rdataclass.ANY)] == [SOA]


async def test_a_gap_in_the_journal_is_one_step(tmp_path: Path) -> None:
    async with mirroring(tmp_path) as both:
        both.update("add imac 120 A 192.0.2.1", "add old 60 TXT one")
        await both.async_catch_up()
        both.told.steps.clear()
        both.lost.stop()
        both.update("add imac 120 A 192.0.2.2", "delete old", "add new 60 TXT one")
        both.update("add new 60 TXT two")
        both.named.rndc("freeze", str(ZONE))
        (both.named.directory / f"{ZONE}db.jnl").unlink()
        both.named.rndc("thaw", str(ZONE))
        both.mirror.notice(parse(NOTIFY, {}))
        await both.async_catch_up()
        assert sorted(both.told.texts()) == [
            "imac 120 A +192.0.2.2",
            'new 60 TXT +"one" +"two"',
            'old 60 TXT -"one"',
        ]
        assert both.texts_at("new") == ['60 "one"', '60 "two"']


async def test_says_when_the_primary_is_away_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with mirroring(tmp_path, expire=4) as both:
        both.update("add imac 120 A 192.0.2.1")
        await both.async_catch_up()
        both.named.stop()
        await both.async_until(lambda: (state := both.mirror.state(ZONE)) is not None and state.expired)
        state = both.mirror.state(ZONE)
        assert state is not None
        assert state.stale
        assert state.serial
        assert "the primary zone.bob.members.example (127.0.0.1 port" in str(state.error)
        assert both.texts_at("imac") == ["120 192.0.2.1"]
        both.named.start()
        both.update("add imac 120 A 192.0.2.2")
        await both.async_catch_up()
        state = both.mirror.state(ZONE)
        assert state is not None
        assert (state.stale, state.expired, state.error) == (False, False, None)
        said = [record.message for record in caplog.records if record.message.startswith(str(ZONE))]
        words = [line.split(", serial")[0].split(" at serial")[0] for line in said if "closes" not in line]
        assert [word for word, _ in itertools.groupby(words)] == [  # again when the reason is another one
            f"{ZONE}: current",
            f"{ZONE}: stale",
            f"{ZONE}: expired",
            f"{ZONE}: current",
        ]


async def test_serials_wrap(tmp_path: Path) -> None:
    async with mirroring(tmp_path, serial=0xFFFFFFFE) as both:
        for number in range(4):
            both.update(f"add imac 120 A 192.0.2.{number}")
            await both.async_catch_up()
        assert both.serial() < 10
        assert len(both.told.steps) == 4
        assert len(both.texts_at("imac")) == 4


async def test_a_lost_notify_costs_no_more_than_a_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secondary, "POLL_S", 0.3)
    async with mirroring(tmp_path) as both:
        both.lost.stop()
        both.update("add imac 120 A 192.0.2.1")
        await both.async_catch_up()
        assert both.told.texts() == ["imac 120 A +192.0.2.1"]


async def test_a_primary_that_was_put_back_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secondary, "POLL_S", 0.3)
    async with mirroring(tmp_path, serial=100) as both:
        both.update("add imac 120 A 192.0.2.1")
        await both.async_catch_up()
        both.named.stop()
        for file in both.named.directory.glob(f"{ZONE}db*"):
            file.unlink()
        both.named.serial = 50
        both.named.configure()
        both.named.start()
        await both.async_catch_up()
        assert both.serial() == 50
        assert both.texts_at("imac") == []
        assert both.told.texts()[-1] == "imac 120 A -192.0.2.1"


async def test_another_key_takes_over(tmp_path: Path) -> None:
    async with mirroring(tmp_path) as both:
        wrong = dns.tsig.Key(both.named.key.name, "c2VjcmV0c2VjcmV0c2VjcmV0", "hmac-sha256")
        both.mirror.keep({ZONE: replace(both.primary, key=wrong)})
        await both.async_until(lambda: bool((state := both.mirror.state(ZONE)) and state.error))
        state = both.mirror.state(ZONE)
        assert state is not None
        assert "TSIG key" in str(state.error)
        assert both.mirror.state(REVERSE) is None
        both.mirror.keep({ZONE: both.primary, REVERSE: both.primary})
        both.update("add imac 120 A 192.0.2.1")
        await both.async_catch_up()
        await both.async_catch_up(REVERSE)


async def test_a_subscriber_that_fails_harms_no_other(tmp_path: Path) -> None:
    async with mirroring(tmp_path) as both:

        def fail(_: Sequence[Change]) -> None:
            raise ZeroDivisionError

        ends = [both.mirror.subscribe(fail), both.mirror.subscribe(late := Told())]
        both.update("add imac 120 A 192.0.2.1")
        await both.async_catch_up()
        assert late.texts() == both.told.texts() == ["imac 120 A +192.0.2.1"]
        for end in ends:
            end()
        both.update("delete imac")
        await both.async_catch_up()
        assert len(late.steps) == 1


async def test_unsigned_notices_are_heeded_at_a_bounded_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every_s = 1.0
    monkeypatch.setattr(secondary, "UNSIGNED_S", every_s)
    async with mirroring(tmp_path) as both:
        both.lost.stop()
        asked = []
        transfer = upstream.Upstream.async_transfer

        async def async_counted(self: upstream.Upstream, zone: dns.name.Name, serial: int | None) -> Transfer:
            asked.append(zone)
            return await transfer(self, zone, serial)

        monkeypatch.setattr(upstream.Upstream, "async_transfer", async_counted)
        notice = parse(NOTIFY, {})
        begun = time.monotonic()
        for _ in range(50):
            assert both.mirror.notice(notice)
            await asyncio.sleep(0.001)
        await both.async_until(lambda: len(asked) >= 2)
        both.update("add imac 120 A 192.0.2.1")
        both.mirror.notice(notice)
        await both.async_catch_up()
        assert 3 <= len(asked) <= 2 + (time.monotonic() - begun) / every_s
