# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's list is followed in the zone, and written down as it is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.filter.crl_records import crl_records
from ansible_collections.btmm.fleet.plugins.module_utils import bundle, pem
from ansible_collections.btmm.fleet.plugins.module_utils.push import Change, encode_push

from tests.certificates import Owner
from watcher import list_follow
from watcher.errors import ZoneServerError
from watcher.follow import Following, PollingFollower
from watcher.list_follow import ListFollow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dns.message import Message

    from watcher.config import Config


class Zone:
    """A zone with an owner's list, or without one; `away`: how many questions go unanswered first."""

    def __init__(self, owner: Owner) -> None:
        self.owner, self.away, self.empty, self.asked = owner, 0, False, 0

    async def async_exchange(self, message: Message) -> Message:
        self.asked += 1
        if self.away:
            self.away -= 1
            raise ZoneServerError("away")
        answer = dns.message.make_response(message)
        records = {record["type"]: record["rdata"] for record in crl_records(self.owner.crl.read_text())}
        question = message.question[0]
        assert str(question.name) == "_crl.bob.members.example."
        kind = dns.rdatatype.to_text(question.rdtype)
        if not self.empty:
            answer.answer.append(dns.rrset.from_text(question.name, 120, "IN", kind, *records[kind]))
        return answer


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zone:
    monkeypatch.setattr(list_follow, "SPACED_S", 0.01)
    return Zone(Owner(tmp_path))


async def async_until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is in a file
            await asyncio.sleep(0.005)


async def async_written(path: Path, text: str) -> None:
    await async_until(lambda: path.exists() and path.read_text() == text)


async def test_each_new_list_is_written_down(config: Config, zone: Zone, tmp_path: Path) -> None:
    path = tmp_path / "received.pem"
    follow = ListFollow(config, zone, path)
    follow.look()
    await async_written(path, zone.owner.crl.read_text())
    written = path.stat().st_ino
    follow.look()
    await async_until(lambda: zone.asked >= 2)
    assert path.stat().st_ino == written  # systemd shall not start anything for nothing
    zone.owner.revoke(zone.owner.host())
    follow.look()
    await async_written(path, zone.owner.crl.read_text())
    follow.stop()


async def test_two_lists_are_written_down_in_one_order(config: Config, zone: Zone, tmp_path: Path) -> None:
    """As while the owner's CA is changed: a record set comes in any order, and is the same."""
    path, other = tmp_path / "received.pem", Owner(tmp_path, "eve.members.example")
    first, second = zone.owner.crl.read_text(), other.crl.read_text()
    written = set()
    for text in (first + second, second + first):
        zone.owner.crl.write_text(text)
        follow = ListFollow(config, zone, path)
        follow.look()
        await async_until(path.exists)
        written.add(path.read_text())
        path.unlink()
        follow.stop()
    (content,) = written
    assert sorted(bundle.split(content)) == sorted([first, second])


async def test_a_zone_that_is_away_is_asked_again(
    config: Config, zone: Zone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_follow, "AGAIN_S", (0.01, 0.02))
    zone.away = 3
    path = tmp_path / "received.pem"
    follow = ListFollow(config, zone, path)
    follow.look()
    await async_written(path, zone.owner.crl.read_text())
    assert zone.asked == 4
    follow.stop()


async def test_a_zone_without_a_list_takes_none_away(config: Config, zone: Zone, tmp_path: Path) -> None:
    path = tmp_path / "received.pem"
    path.write_text("a list")
    zone.empty = True
    follow = ListFollow(config, zone, path)
    follow.look()
    await async_until(lambda: zone.asked)
    await asyncio.sleep(0.02)
    assert (path.read_text(), zone.asked) == ("a list", 1)
    follow.stop()


async def test_it_is_watched_without_any_tunnel(config: Config, zone: Zone, tmp_path: Path) -> None:
    path = tmp_path / "received.pem"
    follow = ListFollow(config, zone, path)
    following = Following(None, lambda _: None, {follow.set: follow.look})  # type: ignore[arg-type]  # no peer is located
    await following.async_use(PollingFollower(zone, following.changed, every_s=0.01))
    await async_until(lambda: zone.asked >= 2)
    assert not path.exists()  # what is there at first is no change
    zone.owner.revoke(zone.owner.host())
    await async_written(path, zone.owner.crl.read_text())
    await following.async_stop()
    follow.stop()


async def test_many_changes_at_once_are_few_lists(
    config: Config, zone: Zone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first at once, the last in any case."""
    path = tmp_path / "received.pem"
    monkeypatch.setattr(list_follow, "SPACED_S", 0.2)
    follow = ListFollow(config, zone, path)
    follow.look()
    await async_written(path, zone.owner.crl.read_text())
    holder = zone.owner.host()
    for _ in range(10):
        zone.owner.revoke(holder)
        follow.look()
        await asyncio.sleep(0.005)
    assert zone.asked == 1
    await async_written(path, zone.owner.crl.read_text())
    assert zone.asked == 2
    follow.stop()


async def test_a_list_that_is_too_long_is_told(
    config: Config, zone: Zone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(list_follow, "_MAX_OCTETS", 100)
    path = tmp_path / "received.pem"
    follow = ListFollow(config, zone, path)
    follow.look()
    await async_until(lambda: "octets, so it is not taken" in caplog.text)
    assert not path.exists()
    follow.stop()


async def test_what_is_followed_has_room_in_every_message(config: Config, zone: Zone, tmp_path: Path) -> None:
    """However long the list is, two of them while the owner's CA is changed: in a PUSH, and in an event by UDP."""
    longest = [pem.encode(pem.LIST, bytes([number]) * 30_000) for number in (1, 2)]
    (record,) = (each for each in crl_records("".join(longest)) if each["type"] == "TXT")
    name, kind = ListFollow(config, zone, tmp_path / "received.pem").set
    assert (str(name), kind) == (f"{record['name']}.{zone.owner.zone}.", dns.rdatatype.TXT)
    rrset = dns.rrset.from_text(name, 120, "IN", "TXT", *record["rdata"])
    (message,) = encode_push([Change(name, kind, 120, rdata) for rdata in rrset])
    assert len(message) < 512
