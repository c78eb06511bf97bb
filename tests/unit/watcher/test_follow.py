# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer of a live tunnel that moves is noticed, and nobody else is asked for."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from watcher.errors import ZoneServerError
from watcher.follow import Following, PollingFollower
from watcher.peers import Located, Locator, Vantage
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from dns.message import Message
    from dns.name import Name

    from watcher.config import Config
    from watcher.follow import RRsetName

TARGET = dns.name.from_text("t.bob.members.example")
ENDED = (dns.name.from_text("_autotunnel._udp.imac.bob.members.example"), dns.rdatatype.SRV)


class Zone:
    def __init__(self) -> None:
        self.address = "203.0.113.101"
        self.down = False
        self.asked = 0

    async def async_exchange(self, message: Message) -> Message:
        self.asked += 1
        if self.down:
            raise ZoneServerError("away")
        question = message.question[0]
        answer = dns.message.make_response(message)
        texts = {
            ("_autotunnel._udp.imac.bob.members.example.", "SRV"): "10 0 4500 t.bob.members.example.",
            ("t.bob.members.example.", "A"): self.address,
        }
        kind = dns.rdatatype.to_text(question.rdtype)
        if text := texts.get((str(question.name), kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 120, "IN", kind, text))
        return answer


async def _async_started(config: Config, zone: Zone) -> tuple[Following, list[str], Locator]:
    moved: list[str] = []
    vantage = Vantage(Uplink(IPv4Address("192.168.20.10"), None))
    locator = Locator(config, zone, lambda: vantage)
    following = Following(locator, moved.append)
    await following.async_use(PollingFollower(zone, following.changed, every_s=0.01))
    return following, moved, locator


async def test_a_peer_that_moves_is_told_once_with_its_new_place_known(config: Config) -> None:
    zone = Zone()
    following, moved, locator = await _async_started(config, zone)
    following.tunnels(frozenset({"imac"}))
    await asyncio.sleep(0.05)
    assert not moved
    zone.address = "203.0.113.102"
    await asyncio.sleep(0.1)
    assert moved == ["imac"]
    located = locator.known("imac")
    assert located is not None
    assert [str(endpoint) for endpoint in located.reach.direct] == ["203.0.113.102:4500"]
    await following.async_stop()


async def test_what_others_want_watched_is_watched_beside(config: Config) -> None:
    zone = Zone()
    told: list[Name] = []
    vantage = Vantage(Uplink(IPv4Address("192.168.20.10"), None))
    following = Following(Locator(config, zone, lambda: vantage), lambda _: None)
    await following.async_use(PollingFollower(zone, lambda name, _: told.append(name), every_s=0.01))
    following.beside(frozenset({(TARGET, dns.rdatatype.A)}))
    await asyncio.sleep(0.05)
    zone.address = "203.0.113.102"
    async with asyncio.timeout(10):
        while not told:  # noqa: ASYNC110 - a list is all there is
            await asyncio.sleep(0.01)
    assert told == [TARGET]
    await following.async_stop()


async def test_what_is_new_is_asked_for_at_once_and_not_with_the_next_round(config: Config) -> None:
    """Else a peer that moves before then would be known at its new place only, and nothing would seem to change."""
    zone = Zone()
    follower = PollingFollower(zone, lambda *_: None, every_s=1000)
    await follower.async_follow(frozenset({ENDED}))
    await asyncio.sleep(0.05)
    assert zone.asked == 1
    await follower.async_follow(frozenset({ENDED, (TARGET, dns.rdatatype.A)}))
    await asyncio.sleep(0.05)
    assert zone.asked == 2
    await follower.async_stop()


async def test_a_slow_answer_of_before_does_not_win(config: Config) -> None:
    zone, gate = Zone(), asyncio.Event()
    followed: list[frozenset[RRsetName]] = []

    class Slow(Locator):
        async def async_locate(self, label: str) -> Located:
            await gate.wait()
            return await super().async_locate(label)

    class Recorder(PollingFollower):
        async def async_follow(self, sets: AbstractSet[RRsetName]) -> None:
            followed.append(frozenset(sets))

    following = Following(Slow(config, zone, lambda: Vantage(None)), lambda _: None)
    await following.async_use(Recorder(zone, lambda *_: None))
    following.tunnels(frozenset({"imac"}))
    await asyncio.sleep(0.01)
    following.tunnels(frozenset())  # the tunnel went while the zone was asked
    await asyncio.sleep(0.01)
    gate.set()
    await asyncio.sleep(0.05)
    assert followed[-1] == frozenset()
    await following.async_stop()


async def test_without_tunnels_nobody_is_asked_for(config: Config) -> None:
    zone = Zone()
    following, _, _ = await _async_started(config, zone)
    following.tunnels(frozenset({"imac"}))
    await asyncio.sleep(0.03)
    following.tunnels(frozenset())
    await asyncio.sleep(0.03)
    asked = zone.asked
    await asyncio.sleep(0.05)
    assert zone.asked == asked
    await following.async_stop()


async def test_a_zone_that_is_away_is_no_move(config: Config) -> None:
    zone = Zone()
    following, moved, _ = await _async_started(config, zone)
    following.tunnels(frozenset({"imac"}))
    await asyncio.sleep(0.03)
    zone.down = True
    await asyncio.sleep(0.05)
    zone.down = False
    await asyncio.sleep(0.05)
    assert not moved
    following.changed(*ENDED)  # another's word for it, without a difference
    await asyncio.sleep(0.05)
    assert not moved
    await following.async_stop()


async def test_who_watches_again_while_it_ends_is_not_forgotten() -> None:
    zone = Zone()
    follower = PollingFollower(zone, lambda _name, _rdtype: None, every_s=0.01)
    sets = frozenset({(TARGET, dns.rdatatype.A)})
    await follower.async_follow(sets)
    await asyncio.sleep(0.02)
    await asyncio.gather(follower.async_follow(frozenset()), follower.async_follow(sets))
    before = zone.asked
    await asyncio.sleep(0.1)
    assert zone.asked > before
    await follower.async_stop()
