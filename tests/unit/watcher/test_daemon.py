# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole daemon in this process, with a zone and a gateway that are stand-ins: start, reload, faults, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import dns.asyncquery
import dns.message
import dns.opcode
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint
from ansible_collections.btmm.fleet.plugins.module_utils.update import BadKey

from watcher import charon, clock, netlink, presence, sleep, uplink
from watcher import instance as instance_module
from watcher.clock import Leap, boottime
from watcher.daemon import Daemon
from watcher.errors import AlreadyRunningError, PortMapError
from watcher.places import STATUS_FILE, Places
from watcher.portmap.mapping import Mapping
from watcher.uplink import Uplink

from .conftest import written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from dns.message import Message


class World:
    """What the daemon meets outside."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.places = Places(directory, directory, directory, directory.parent)
        self.link: Uplink | None = Uplink(IPv4Address("192.168.10.10"), IPv4Address("192.168.10.1"))
        self.outer = Endpoint(IPv4Address("203.0.113.101"), 4500)
        self.no_mapping = False
        self.bad_key = False
        self.updates: list[str] = []
        self.released = 0
        self.doubted = 0
        self.notified: list[str] = []

    async def async_exchange(self, message: Message) -> Message:
        if self.bad_key:
            raise BadKey("the zone server has another secret")
        if message.opcode() == dns.opcode.QUERY:
            return dns.message.make_response(message)  # the zone has no relay
        self.updates.append(str(message))
        return message

    def drop(self) -> None:
        pass

    def watch(self, changed: Callable[[], None], *_: object) -> World:
        """Stand in for rtnetlink: the test calls `changed`."""
        self.changed = changed
        return self

    def close(self) -> None:
        pass

    async def async_obtain(self, _: Uplink) -> Mapping:
        if self.no_mapping:
            raise PortMapError("the gateway refuses")
        now = boottime()
        return Mapping(self.outer, "nat-pmp", 7200, now + 7200, (now + 3600,))

    async def async_release(self) -> None:
        self.released += 1

    def doubt(self) -> None:
        self.doubted += 1

    def watch_clock(self, leapt: Callable[[Leap], None]) -> World:
        """Stand in for the kernel's timer: the test calls `leapt`."""
        self.leapt = leapt
        return self

    @property
    def status(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads((self.directory / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return value

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - what is waited for is in a file
                await asyncio.sleep(0.01)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    directory = tmp_path / "bob.members.example"
    directory.mkdir()
    written(directory, stub={"address": "127.0.0.1", "port": _free_port()})
    world = World(directory)
    monkeypatch.setattr(instance_module, "ZoneClient", lambda *_: world)
    monkeypatch.setattr(presence, "Mapper", lambda *_: world)
    monkeypatch.setattr(netlink, "Watch", world.watch)
    monkeypatch.setattr(clock, "Watch", world.watch_clock)
    monkeypatch.setattr(uplink, "find", lambda *_: world.link)
    monkeypatch.setattr(charon, "SOCKET", str(tmp_path / "no-charon"))
    return world


@pytest.fixture
async def notifications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Play systemd's side of sd_notify."""
    received: list[str] = []

    class Manager(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.append(data.decode())

    path = str(tmp_path / "notify")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    sock.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Manager, sock=sock)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    yield received
    transport.close()


@pytest.fixture
async def running(world: World, notifications: list[str]) -> AsyncIterator[World]:
    world.notified = notifications
    task = asyncio.create_task(Daemon(world.places).async_run())
    yield world
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 5)


async def test_published_ready_and_withdrawn_at_the_end(world: World, notifications: list[str]) -> None:
    task = asyncio.create_task(Daemon(world.places).async_run())
    await world.until(lambda: "READY=1" in notifications)
    assert world.status["published"]
    assert (world.status["outer"], world.status["error"]) == ("203.0.113.101:4500", None)
    assert len(world.updates) == 2
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 5)
    assert len(world.updates) == 4
    assert world.released == 1


async def test_systemd_hears_that_the_loop_turns(
    world: World, notifications: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    task = asyncio.create_task(Daemon(world.places).async_run())
    await world.until(lambda: notifications.count("WATCHDOG=1") >= 3)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 5)


async def test_before_a_suspend_the_host_leaves_and_comes_back_after_it(running: World) -> None:
    await running.until(lambda: running.status.get("published"))
    running.updates.clear()
    file = running.places.run / STATUS_FILE
    assert await asyncio.to_thread(sleep.tell, [file], asleep=True)
    assert (running.status["asleep"], running.status["outer"], running.released) == (True, None, 1)
    assert len(running.updates) == 2
    running.link = None
    running.changed()  # the network goes down before the kernel does
    await asyncio.sleep(0.05)
    assert running.status["error"] is None
    running.link = Uplink(IPv4Address("192.168.20.10"), IPv4Address("192.168.20.1"))
    await asyncio.to_thread(sleep.tell, [file], asleep=False)
    await running.until(lambda: running.status.get("published") and not running.status["asleep"])
    assert len(running.updates) == 4


async def test_a_suspend_that_nobody_told_is_noticed_by_the_clock(
    running: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await running.until(lambda: running.status.get("published"))
    running.updates.clear()
    running.leapt(Leap(3600.0, 0.0))
    await running.until(lambda: len(running.updates) == 2)
    assert running.doubted == 1


async def test_after_a_step_of_the_time_of_day_the_trace_of_the_lease_is_written_again(running: World) -> None:
    await running.until(lambda: running.status.get("published"))
    running.updates.clear()
    running.leapt(Leap(0.0, -86400.0))
    await running.until(lambda: len(running.updates) == 2)
    assert running.doubted == 0


async def test_a_wrong_key_is_ready_and_tells_why(running: World) -> None:
    running.bad_key = True
    await running.until(lambda: "READY=1" in running.notified)
    assert running.status["error"] == "macbook: the zone server has another secret"
    assert running.status["final"]
    assert running.status["published"] is None


async def test_a_reload_publishes_new_services_and_keeps_serving(running: World) -> None:
    await running.until(lambda: running.status.get("published"))
    running.updates.clear()
    before = running.status["config"]
    (running.directory / "services.json").write_text('[{"type": "_http._tcp", "port": 80}]')
    os.kill(os.getpid(), signal.SIGHUP)
    await running.until(lambda: running.status["config"] != before and running.status.get("published"))
    assert "_http._tcp" in running.updates[0]
    assert running.status["error"] is None
    port = json.loads((running.directory / "watcher.json").read_text())["stub"]["port"]
    answer = await dns.asyncquery.udp(dns.message.make_query("example.com", "A"), "127.0.0.1", port=port, timeout=5)
    assert dns.rcode.to_text(answer.rcode()) == "REFUSED"


async def test_a_broken_configuration_is_told_and_repaired_by_a_reload(running: World) -> None:
    await running.until(lambda: running.status.get("published"))
    whole = (running.directory / "watcher.json").read_text()
    (running.directory / "watcher.json").write_text("{")
    os.kill(os.getpid(), signal.SIGHUP)
    await running.until(lambda: "can't be read" in (running.status["error"] or ""))
    (running.directory / "watcher.json").write_text(whole)
    os.kill(os.getpid(), signal.SIGHUP)
    await running.until(lambda: running.status["published"])


async def test_a_stub_that_cannot_listen_stays_told(world: World, notifications: list[str]) -> None:
    port = json.loads((world.directory / "watcher.json").read_text())["stub"]["port"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        task = asyncio.create_task(Daemon(world.places).async_run())
        await world.until(lambda: "READY=1" in notifications)
        assert "can't listen" in world.status["error"]
        assert world.status["published"]
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 5)


async def test_without_a_mapping_the_host_is_withdrawn(world: World, notifications: list[str]) -> None:
    first = asyncio.create_task(Daemon(world.places).async_run())
    await world.until(lambda: "READY=1" in notifications)
    kept = (world.directory / "published.json").read_text()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(first, 5)
    # As after a kill: the zone still holds what this file says.
    (world.directory / "published.json").write_text(kept)
    world.updates.clear()
    world.no_mapping = True
    second = asyncio.create_task(Daemon(world.places).async_run())
    await world.until(lambda: (world.status["error"] or "").endswith("the gateway refuses"))
    assert "ANY" in world.updates[-1]
    assert world.status["outer"] is None
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(second, 5)


async def test_a_move_is_followed(running: World) -> None:
    await running.until(lambda: running.status.get("published"))
    running.updates.clear()
    running.link = Uplink(IPv4Address("192.168.20.10"), IPv4Address("192.168.20.1"))
    running.outer = Endpoint(IPv4Address("203.0.113.102"), 41500)
    running.changed()
    await running.until(lambda: running.status["outer"] == "203.0.113.102:41500" and running.updates)
    assert len(running.updates) == 1


async def test_only_one_daemon(running: World) -> None:
    await running.until(lambda: running.status.get("published"))
    with pytest.raises(AlreadyRunningError, match="one is enough for a zone"):
        await Daemon(running.places).async_run()
