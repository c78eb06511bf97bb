# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent when, and what is remembered: over changes, failures and crashes."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import dns.opcode
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint
from ansible_collections.btmm.fleet.plugins.module_utils.update import ServerFailed

from watcher import config as config_module
from watcher.publish import Publisher

from .conftest import written

if TYPE_CHECKING:
    from pathlib import Path

    from dns.message import Message

    from watcher.config import Config

OUTER = Endpoint(IPv4Address("203.0.113.101"), 41500)
FORWARD = "bob.members.example. IN SOA"
REVERSE = "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa. IN SOA"


class Zone:
    def __init__(self) -> None:
        self.updates: list[Message] = []
        self.failing = False

    async def async_exchange(self, message: Message) -> Message:
        if self.failing:
            raise ServerFailed("could not do it now")
        assert message.opcode() == dns.opcode.UPDATE
        self.updates.append(message)
        return message

    @property
    def zones(self) -> list[str]:
        return [str(message.question[0]) for message in self.updates]

    def text(self) -> str:
        return "\n".join(str(message) for message in self.updates)


@pytest.fixture
def zone() -> Zone:
    return Zone()


def _publisher(config: Config, zone: Any, directory: Path) -> Publisher:
    return Publisher(config, zone, directory)


async def test_one_update_per_zone_and_none_when_nothing_changed(config: Config, zone: Zone, tmp_path: Path) -> None:
    publisher = _publisher(config, zone, tmp_path)
    assert await publisher.async_publish(OUTER)
    assert zone.zones == [FORWARD, REVERSE]
    assert not await publisher.async_publish(OUTER)
    assert len(zone.updates) == 2


async def test_a_new_outer_port_changes_one_zone_only(config: Config, zone: Zone, tmp_path: Path) -> None:
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    zone.updates.clear()
    assert await publisher.async_publish(dataclasses.replace(OUTER, port=41501))
    assert zone.zones == [FORWARD]
    assert "0 0 41501 AutoTunnel-" in zone.text()


async def test_the_next_process_says_it_all_again(config: Config, zone: Zone, tmp_path: Path) -> None:
    await _publisher(config, zone, tmp_path).async_publish(OUTER)
    zone.updates.clear()
    assert await _publisher(config, zone, tmp_path).async_publish(OUTER)
    assert zone.zones == [FORWARD, REVERSE]


async def test_a_service_that_is_gone_is_withdrawn_by_the_next_process(zone: Zone, tmp_path: Path) -> None:
    await _publisher(config_module.load(written(tmp_path)), zone, tmp_path).async_publish(OUTER)
    zone.updates.clear()
    (tmp_path / "services.json").write_text("[]")
    await _publisher(config_module.load(tmp_path), zone, tmp_path).async_publish(OUTER)
    assert "_ssh._tcp.bob.members.example. 0 NONE PTR Bob's\\032MacBook._ssh._tcp.bob.members.example." in zone.text()


async def test_a_failure_remembers_both_possibilities(zone: Zone, tmp_path: Path) -> None:
    publisher = _publisher(config_module.load(written(tmp_path)), zone, tmp_path)
    zone.failing = True
    with pytest.raises(ServerFailed):
        await publisher.async_publish(OUTER)
    # As if killed now: whether the server took it or not, the next process can take it back.
    zone.failing = False
    (tmp_path / "services.json").write_text("[]")
    await _publisher(config_module.load(tmp_path), zone, tmp_path).async_publish(OUTER)
    assert "NONE PTR Bob's\\032MacBook._ssh._tcp.bob.members.example." in zone.text()


async def test_withdrawal_takes_everything_in_reverse_and_once(config: Config, zone: Zone, tmp_path: Path) -> None:
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    zone.updates.clear()
    assert await publisher.async_withdraw()
    assert zone.zones == [REVERSE, FORWARD]
    assert " IN AAAA" not in zone.text()
    assert not await publisher.async_withdraw()
    assert await publisher.async_publish(OUTER)


async def test_nothing_to_withdraw(config: Config, zone: Zone, tmp_path: Path) -> None:
    assert not await _publisher(config, zone, tmp_path).async_withdraw()
    assert not zone.updates


async def test_a_renamed_host_does_not_touch_its_old_name(zone: Zone, tmp_path: Path) -> None:
    await _publisher(config_module.load(written(tmp_path)), zone, tmp_path).async_publish(OUTER)
    zone.updates.clear()
    renamed = config_module.load(written(tmp_path, label="air"))
    await _publisher(renamed, zone, tmp_path).async_publish(OUTER)
    assert "macbook" not in zone.text()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"host": "macbook.bob.members.example.", "zones": {"x.": ["not a record"]}}']
)
async def test_a_damaged_memory_is_ignored(config: Config, zone: Zone, tmp_path: Path, content: str) -> None:
    (tmp_path / "published.json").write_text(content)
    assert await _publisher(config, zone, tmp_path).async_publish(OUTER)
    assert json.loads((tmp_path / "published.json").read_text())["zones"].keys() == {
        "bob.members.example.",
        "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.",
    }
