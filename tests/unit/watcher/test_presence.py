# SPDX-License-Identifier: GPL-3.0-or-later
"""What is published when gateway and relay disagree, and whom that makes ask again; both are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Server
from dns.message import Message

from watcher import presence as presence_module
from watcher.clock import boottime
from watcher.config import Config
from watcher.faults import Faults
from watcher.places import Places
from watcher.portmap.mapping import Mapping
from watcher.presence import Presence
from watcher.status import Status
from watcher.uplink import Uplink

HOME = Uplink(IPv4Address("192.168.1.2"), IPv4Address("192.168.1.1"))
BEFORE, AFTER = IPv4Address("203.0.113.101"), IPv4Address("203.0.113.222")
RELAYS = tuple(Server(dns.name.from_text(f"zone{each}.bob.members.example."), 4501) for each in ("", "2"))


class Gateway:
    """Answers as a router that never announces anything."""

    def __init__(self) -> None:
        self.outer = BEFORE
        self.asked = 0
        self._held: Mapping | None = None

    async def async_obtain(self, _: Uplink) -> Mapping:
        now = boottime()
        if self._held is None:
            self.asked += 1
            self._held = Mapping(Endpoint(self.outer, 4500), "pcp", 7200, now + 7200, (now + 3600,))
        return self._held

    def doubt(self) -> None:
        self._held = None


class Zone:
    """Takes what is published; `hold` keeps it from answering."""

    def __init__(self) -> None:
        self.tunnels: list[str] = []  # the SRV records of each update
        self.held: list[dns.rrset.RRset] = []
        self.others = ""
        self.hold = asyncio.Event()
        self.hold.set()

    async def async_exchange(self, message: Message) -> Message:
        if message.opcode() == dns.opcode.QUERY:
            answer, question = dns.message.make_response(message), message.question[0]
            if self.others:
                answer.answer.append(dns.rrset.from_text(question.name, 120, "IN", question.rdtype, self.others))
            else:
                answer.answer += [
                    each for each in self.held if (each.name, each.rdtype) == (question.name, question.rdtype)
                ]
            return answer
        self.held += [each for each in message.sections[2] if each.deleting is None]
        lines = [line for line in str(message).splitlines() if " IN SRV " in line and "_autotunnel._udp" in line]
        if lines:
            self.tunnels.append("; ".join(sorted(line.partition(" IN SRV ")[2] for line in lines)))
        await self.hold.wait()
        return message


class Rig:
    def __init__(self, config: Config, directory: Path, gateway: Gateway) -> None:
        self.gateway, self.zone, self.moves = gateway, Zone(), 0
        self.relay = SimpleNamespace(observed=Endpoint(BEFORE, 4500), relays=RELAYS[:1], mediators=())
        self.status = Status(directory)
        places = Places(directory, directory, directory, directory)
        client: Any = self.zone
        relay: Any = self.relay
        faults = Faults("me", self.status)
        self.presence = Presence(config, client, places, self.status, faults, relay, lambda: None, self._moved)

    def _moved(self) -> None:
        self.moves += 1

    def seen(self, address: IPv4Address) -> None:
        self.relay.observed = Endpoint(address, 4500)
        self.presence.relay_changed()


@pytest.fixture
async def rig(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    gateway = Gateway()
    monkeypatch.setattr(presence_module, "Mapper", lambda *_: gateway)
    rig = Rig(config, tmp_path, gateway)
    rig.presence.start(HOME)
    await async_until(lambda: rig.status.get("published"))
    yield rig
    await rig.presence.async_halt()


async def async_until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_a_router_that_got_another_address_and_says_nothing_is_asked(rig: Rig) -> None:
    rig.gateway.outer = AFTER
    rig.seen(AFTER)
    await async_until(lambda: rig.status.get("outer") == f"{AFTER}:4500")
    assert (rig.gateway.asked, rig.moves) == (2, 1)
    assert (rig.status.get("nat"), rig.status.get("unmapped")) == ("nat", None)
    assert "10 0 4500" in rig.zone.tunnels[-1]


async def test_only_its_fresh_answer_tells_of_a_second_nat(rig: Rig) -> None:
    rig.seen(AFTER)
    await async_until(lambda: rig.status.get("unmapped"))
    assert (rig.gateway.asked, rig.moves) == (2, 0)
    assert "another NAT stands between" in rig.status.get("unmapped")
    assert rig.zone.tunnels[-1].startswith("30 0 4501")
    # A quarter of an hour later, and not when the lease of before ends.
    assert rig.presence._renew_at() - boottime() <= presence_module.MAP_AGAIN_S


async def test_a_gateway_that_is_doubted_and_has_all_as_before_costs_no_update(rig: Rig) -> None:
    updates = len(rig.zone.tunnels)
    rig.presence.ask_gateway()
    await async_until(lambda: rig.gateway.asked == 2)
    await asyncio.sleep(0.05)
    assert (len(rig.zone.tunnels), rig.moves) == (updates, 0)


async def test_what_the_relay_grants_while_the_zone_is_told_is_told_after_it(rig: Rig) -> None:
    rig.zone.hold.clear()
    rig.relay.relays = ()
    rig.presence.relay_changed()
    await async_until(lambda: "4501" not in rig.zone.tunnels[-1])
    rig.relay.relays = RELAYS[1:]
    rig.presence.relay_changed()
    rig.zone.hold.set()
    await async_until(lambda: "zone2" in rig.zone.tunnels[-1])


async def test_another_writer_is_told_at_once_and_our_own_update_is_none(rig: Rig) -> None:
    rig.presence.own_changed()
    await asyncio.sleep(0.05)
    assert rig.status.get("overwritten") == []
    rig.presence.own_sets = frozenset(each for each in rig.presence.own_sets if each[1] == dns.rdatatype.A)
    rig.zone.others = "198.51.100.7"
    rig.presence.own_changed()
    await async_until(lambda: rig.status.get("overwritten"))
    assert rig.status.get("overwritten")[0].endswith(" A")
