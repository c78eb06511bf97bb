# SPDX-License-Identifier: GPL-3.0-or-later
"""Names go on while nobody serves the zone, and the zone's own word counts again as soon as somebody does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.update import (
    BadTime,
    ServerFailed,
    UpdateError,
    UpdateRefused,
)

from watcher import remembered
from watcher.errors import ZoneServerError
from watcher.last_known import LastKnown
from watcher.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dns.message import Message

    from watcher.config import Config

ZONE = "bob.members.example."
IMAC = f"imac.{ZONE}"
TITLE = f"Bob's\\032iMac._ssh._tcp.{ZONE}"
TARGET = f"AutoTunnel-AA.{ZONE}"
RECORDS = {
    (f"_services._dns-sd._udp.{ZONE}", "PTR"): (f"_ssh._tcp.{ZONE}",),
    (f"_ssh._tcp.{ZONE}", "PTR"): (TITLE, f"mini._ssh._tcp.{ZONE}", "evil._ssh._tcp.example.com."),
    (TITLE, "SRV"): (f"0 0 22 {IMAC}",),
    (TITLE, "TXT"): ('""',),
    (f"mini._ssh._tcp.{ZONE}", "SRV"): (f"0 0 22 mini.{ZONE}", f"1 0 22 -not\\032a\\000host.{ZONE}"),
    (IMAC, "AAAA"): ("fd12:3456:789a::2",),
    (f"_autotunnel._udp.{IMAC}", "SRV"): (f"10 0 41500 {TARGET}",),
    (TARGET, "A"): ("203.0.113.101",),
    (f"mini.{ZONE}", "AAAA"): ("fd12:3456:789a::3",),
}


class Zone:
    """A zone server that can go away, and be slow about it."""

    def __init__(self) -> None:
        self.records = dict(RECORDS)
        self.asked: list[str] = []
        self.down = False
        self.fault: UpdateError | None = None
        self.takes_s = 0.0

    async def async_exchange(self, message: Message) -> Message:
        await asyncio.sleep(self.takes_s)
        if self.fault is not None:
            raise self.fault
        if self.down:
            raise ZoneServerError("the zone server can't be reached")
        question = message.question[0]
        self.asked.append(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}")
        answer = dns.message.make_response(message)
        texts = self.records.get((str(question.name), dns.rdatatype.to_text(question.rdtype)))
        if texts:
            answer.answer.append(dns.rrset.from_text(question.name, 120, "IN", question.rdtype, *texts))
        return answer


class Rig:
    def __init__(self, config: Config, directory: Path) -> None:
        self.config, self.directory = config, directory
        self.zone = Zone()
        self.told: list[bool] = []
        self.new()

    def new(self) -> None:
        table = LastKnown(self.config, self.directory)
        self.asker = Remembered(self.config, self.zone, table, lambda since: self.told.append(since is not None))

    async def ask(self, name: str = IMAC, kind: str = "AAAA") -> list[str]:
        answer = await self.asker.async_exchange(dns.message.make_query(name, kind))
        assert answer.rcode() == dns.rcode.NOERROR
        return [str(rdata) for rrset in answer.answer for rdata in rrset]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.fixture
def rig(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(remembered, "_PROBE_LEAST_S", 0.02)
    monkeypatch.setattr(remembered, "_PROBE_FIRST_S", 0.05)
    monkeypatch.setattr(remembered, "_PAUSE_S", 0.0)
    return Rig(config, tmp_path)


async def test_what_was_asked_goes_on_and_the_zones_word_counts_again(rig: Rig) -> None:
    assert await rig.ask() == ["fd12:3456:789a::2"]
    rig.zone.down = True
    assert await rig.ask() == ["fd12:3456:789a::2"]
    assert await rig.ask(kind="A") == []
    assert rig.told == [True]
    rig.zone.records[(IMAC, "AAAA")] = ("fd12:3456:789a::22",)
    rig.zone.down = False
    await until(lambda: rig.told == [True, False])
    assert await rig.ask() == ["fd12:3456:789a::22"]
    rig.asker.stop()


async def test_nobody_waits_twice_for_a_silent_server(rig: Rig) -> None:
    await rig.ask()
    rig.zone.down = True
    await rig.ask()
    rig.zone.takes_s = 60.0
    async with asyncio.timeout(1):
        assert await rig.ask() == ["fd12:3456:789a::2"]
    rig.asker.stop()


async def test_what_was_never_asked_is_a_failure(rig: Rig) -> None:
    rig.zone.down = True
    with pytest.raises(ZoneServerError):
        await rig.ask()
    assert rig.told == []


async def test_a_refusal_is_no_silence(rig: Rig) -> None:
    await rig.ask()
    rig.zone.fault = UpdateRefused("refused")
    with pytest.raises(UpdateRefused):
        await rig.ask()
    assert rig.told == []


@pytest.mark.parametrize("fault", [BadTime("clocks differ", 900), ServerFailed("no zone")])
async def test_a_server_that_cannot_answer_is_as_good_as_none(rig: Rig, fault: UpdateError) -> None:
    await rig.ask()
    rig.zone.fault = fault
    assert await rig.ask() == ["fd12:3456:789a::2"]
    await asyncio.sleep(0.2)  # some probes, which it does not answer, either
    assert rig.told == [True]
    rig.zone.fault = None
    await until(lambda: rig.told == [True, False])
    rig.asker.stop()


async def test_a_restart_without_a_server_knows_what_was_written(rig: Rig) -> None:
    await rig.ask()
    rig.asker.stop()
    rig.zone.down = True
    rig.new()
    rig.asker.start()
    assert await rig.ask() == ["fd12:3456:789a::2"]
    rig.asker.stop()


async def test_it_looks_round_once_after_the_start(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_LOOK_ROUND_S", (0.0, 0.0))
    rig.asker.start()
    await until(lambda: f"{TARGET} A" in rig.zone.asked and f"mini.{ZONE} AAAA" in rig.zone.asked)
    assert not any("example.com" in question for question in rig.zone.asked)
    assert len(rig.zone.asked) == len(set(rig.zone.asked))
    await asyncio.sleep(0.05)
    rig.asker.stop()
    rig.zone.down = True
    rig.new()
    rig.asker.start()
    for (name, kind), texts in RECORDS.items():
        assert sorted(await rig.ask(name, kind)) == sorted(texts)
    rig.asker.stop()


async def test_the_look_round_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_LOOK_ROUND_S", (0.0, 0.0))
    monkeypatch.setattr(remembered, "MAX_HOSTS", 1)
    rig.asker.start()
    await until(lambda: f"mini._ssh._tcp.{ZONE} TXT" in rig.zone.asked and f"{TARGET} AAAA" in rig.zone.asked)
    await asyncio.sleep(0.05)
    assert f"mini.{ZONE} AAAA" not in rig.zone.asked
    rig.asker.stop()


async def test_the_disk_is_written_rarely(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_WRITE_FIRST_S", 0.05)
    rig.new()
    writes = []
    monkeypatch.setattr(LastKnown, "save", lambda _: writes.append(1))
    for name, kind in RECORDS:
        await rig.ask(name, kind)
    assert not writes
    await until(lambda: writes)
    for name, kind in RECORDS:
        await rig.ask(name, kind)
    await asyncio.sleep(0.1)
    assert len(writes) == 1
    rig.asker.stop()


async def test_after_a_change_of_the_network_nobody_waits_for_the_next_probe(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unplugged cable makes the zone look away; when the network is back, it is known at once that it is not."""
    monkeypatch.setattr(remembered, "_PROBE_LEAST_S", 60.0)
    monkeypatch.setattr(remembered, "_PROBE_FIRST_S", 60.0)
    await rig.ask()
    rig.asker.network_changed()
    rig.zone.down = True
    await rig.ask()
    rig.zone.down = False
    rig.asker.network_changed()
    await until(lambda: rig.told == [True, False])


async def test_an_update_that_was_answered_counts(rig: Rig) -> None:
    await rig.ask()
    rig.zone.down = True
    await rig.ask()
    rig.asker.served()
    assert rig.told == [True, False]
    rig.asker.stop()
