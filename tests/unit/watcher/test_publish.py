# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent when, and what is remembered: over changes, failures and crashes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import lease
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Reach
from ansible_collections.btmm.fleet.plugins.module_utils.update import ServerFailed

from watcher import config as config_module
from watcher import publish
from watcher.publish import Publisher

from .conftest import written

if TYPE_CHECKING:
    from pathlib import Path

    from dns.message import Message

    from watcher.config import Config

OUTER = Reach((Endpoint(IPv4Address("203.0.113.101"), 41500),))
FORWARD = "bob.members.example. IN SOA"
REVERSE = "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa. IN SOA"


class Zone:
    def __init__(self) -> None:
        self.updates: list[Message] = []
        self.failing = False
        self.grant: int | None = None

    async def async_exchange(self, message: Message) -> Message:
        if self.failing:
            raise ServerFailed("could not do it now")
        answer = dns.message.make_response(message)
        if message.opcode() == dns.opcode.QUERY:
            question = message.question[0]
            held = self._held(question.name, question.rdtype)
            answer.answer += [dns.rrset.from_rdata_list(question.name, 120, held)] if held else []
            return answer
        assert message.opcode() == dns.opcode.UPDATE
        self.updates.append(message)
        if self.grant is not None:
            lease.ask(answer, lease.Lease(self.grant))
        return answer

    def _held(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> list[dns.rdata.Rdata]:
        """Return what was added last and not deleted since."""
        held: list[dns.rdata.Rdata] = []
        for rrset in (rrset for message in self.updates for rrset in message.sections[2]):
            if (rrset.name, rrset.rdtype) == (name, rdtype):
                held = [] if rrset.deleting is not None else [*held, *rrset]
        return held

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
    assert await publisher.async_publish(Reach((Endpoint(IPv4Address("203.0.113.101"), 41501),)))
    assert zone.zones == [FORWARD]
    assert "10 0 41501 AutoTunnel-" in zone.text()


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


async def test_after_a_failure_all_is_said_again(config: Config, zone: Zone, tmp_path: Path) -> None:
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    zone.failing = True
    with pytest.raises(ServerFailed):
        await publisher.async_withdraw()
    zone.failing = False
    zone.updates.clear()
    # The server may have done it and its answer may be lost.
    assert await publisher.async_publish(OUTER)
    assert REVERSE in zone.zones
    assert await publisher.async_withdraw()
    assert zone.zones[-2:] == [REVERSE, FORWARD]


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
    "content",
    [
        "{",
        "[]",
        '{"host": "macbook.bob.members.example.", "zones": {"x.": ["not a record"]}}',
        '{"host": "macbook.bob.members.example."}',
        f'{{"host": "macbook.bob.members.example.", "zones": {{"{"x" * 64}.": []}}}}',
    ],
)
async def test_a_damaged_memory_is_ignored(config: Config, zone: Zone, tmp_path: Path, content: str) -> None:
    (tmp_path / "published.json").write_text(content)
    assert await _publisher(config, zone, tmp_path).async_publish(OUTER)
    assert json.loads((tmp_path / "published.json").read_text())["zones"].keys() == {
        "bob.members.example.",
        "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.",
    }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("watcher.clock.boottime", lambda: now[0])
    return now


async def test_every_update_asks_for_a_lease_and_leaves_its_trace(config: Config, zone: Zone, tmp_path: Path) -> None:
    await _publisher(config, zone, tmp_path).async_publish(OUTER)
    assert [lease.told(message) for message in zone.updates] == [lease.Lease(7200)] * 2
    traces = re.findall(r"^_lease\.macbook\.bob\.members\.example\. 120 IN TXT (.*)$", zone.text(), re.MULTILINE)
    assert len(traces) == 1
    assert re.fullmatch(r'"refreshed=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" "lease=7200"', traces[0])


async def test_a_lease_is_refreshed_whole_and_not_before_it_is_due(
    config: Config, zone: Zone, tmp_path: Path, clock: list[float]
) -> None:
    publisher = _publisher(config, zone, tmp_path)
    assert publisher.refresh_in() is None
    await publisher.async_publish(OUTER)
    first = zone.text()
    zone.updates.clear()
    assert 0.80 * 7200 <= (publisher.refresh_in() or 0) <= 0.85 * 7200
    clock[0] += 0.80 * 7200 - 1
    assert not await publisher.async_publish(OUTER)
    assert not zone.updates
    clock[0] += 0.05 * 7200 + 2
    assert await publisher.async_publish(OUTER)
    assert zone.zones == [FORWARD, REVERSE]
    # Once swept, a host comes back with all it has: only the time of the trace differs.
    changing = r"^id .*|refreshed=\S+"
    assert re.sub(changing, "", zone.text(), flags=re.MULTILINE) == re.sub(changing, "", first, flags=re.MULTILINE)
    assert (publisher.refresh_in() or 0) >= 0.80 * 7200
    assert not await publisher.async_publish(OUTER)


@pytest.mark.parametrize(("grant", "kept"), [(3600, 3600), (10, 30), (1 << 31, 86400)])
async def test_the_servers_lease_is_obeyed(
    config: Config, zone: Zone, tmp_path: Path, clock: list[float], grant: int, kept: int
) -> None:
    zone.grant = grant
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    assert 0.80 * kept <= (publisher.refresh_in() or 0) <= 0.85 * kept


async def test_failing_refreshes_stay_due_and_leave_one_trace_to_withdraw(
    config: Config, zone: Zone, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    clock[0] += 7200
    zone.failing = True
    for second in range(3):
        monkeypatch.setattr(publish, "datetime", _Clock(second))
        with pytest.raises(ServerFailed):
            await publisher.async_publish(OUTER)
    assert (publisher.refresh_in() or 0) < 0
    kept = json.loads((tmp_path / "published.json").read_text())["zones"]["bob.members.example."]
    assert sum("_lease" in line for line in kept) == 1
    zone.failing = False
    zone.updates.clear()
    assert await publisher.async_withdraw()
    assert "_lease.macbook.bob.members.example. ANY TXT" in zone.text()
    assert publisher.refresh_in() is None


async def test_what_another_writer_changed_is_told_and_put_back(
    config: Config, zone: Zone, tmp_path: Path, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    clock[0] += 7200
    await publisher.async_publish(OUTER)
    assert not publisher.overwritten
    other = dns.update.UpdateMessage("bob.members.example.")
    other.replace("macbook.bob.members.example.", 120, "AAAA", "fd12:3456:789a::bad")
    await zone.async_exchange(other)
    clock[0] += 7200
    await publisher.async_publish(OUTER)
    assert publisher.overwritten == ("macbook.bob.members.example. AAAA",)
    assert "another writer changed macbook.bob.members.example. AAAA" in caplog.text
    clock[0] += 7200
    await publisher.async_publish(OUTER)
    assert not publisher.overwritten


async def test_only_what_is_looked_at_is_judged(
    config: Config, zone: Zone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = _publisher(config, zone, tmp_path)
    await publisher.async_publish(OUTER)
    name = dns.name.from_text("_autotunnel._udp.macbook.bob.members.example")
    other = dns.update.UpdateMessage("bob.members.example.")
    other.replace("macbook.bob.members.example.", 120, "AAAA", "fd12:3456:789a::bad")
    other.replace(name, 120, "SRV", "10 0 4501 elsewhere.bob.members.example.")
    await zone.async_exchange(other)
    for _ in range(2):
        await publisher.async_compare({(name, dns.rdatatype.SRV)})
        assert publisher.overwritten == (f"{name} SRV",)
    assert len([each for each in caplog.records if "another writer" in each.getMessage()]) == 1
    await publisher.async_compare({(dns.name.from_text("macbook.bob.members.example"), dns.rdatatype.AAAA)})
    assert publisher.overwritten == (f"{name} SRV", "macbook.bob.members.example. AAAA")


async def test_a_way_that_is_gone_is_withdrawn_even_when_nobody_remembers_it(
    config: Config, zone: Zone, tmp_path: Path
) -> None:
    await _publisher(config, zone, tmp_path).async_publish(OUTER)
    target = f"AutoTunnel-{config.host.ula.packed[8:].hex('-').upper()}"
    assert f"{target}-lan.bob.members.example. ANY A" in zone.text()
    assert f"{target}-6.bob.members.example. ANY AAAA" in zone.text()
    assert "_autotunnel-lan._udp.macbook.bob.members.example. ANY SRV" in zone.text()


class _Clock:
    def __init__(self, second: int) -> None:
        self.time = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)

    def now(self, _: object) -> datetime:
        return self.time
