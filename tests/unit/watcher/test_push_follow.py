# SPDX-License-Identifier: GPL-3.0-or-later
"""The watcher hears of changes by Push from a real notifier, and lives without one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, names, push_client
from ansible_collections.btmm.fleet.plugins.module_utils.push import Change
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError, Server
from dns.rdatatype import RdataType

from notifier.config import Limits
from tests.named import ADDRESS, SECRET
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying
from tests.unit.notifier.test_push_server import update
from tests.unit.watcher.conftest import written
from watcher import config as config_module
from watcher.commands.live import Sidebar
from watcher.config import Config
from watcher.follow import PollingFollower
from watcher.push_follow import PushFollower, async_find_servers, make_client
from watcher.zone_client import ZoneClient

PATIENCE_S = 10.0
A, SRV, TXT = RdataType.A, RdataType.SRV, RdataType.TXT
MINI = dns.name.from_text("mini", ZONE)


def config_for(notifier: Notifier, directory: Path) -> Config:
    """The watcher's configuration on a host of the notifier's zone; key and certificate are where charon has them."""
    shown = notifier.host("imac")
    for name, source in (("private", shown.key), ("x509", shown.certificate)):
        (directory / name).mkdir()
        shutil.copy(source, directory / name / "btmm.pem")
    (directory / "all.secret").write_text(base64.b64encode(base64.b64decode(SECRET)).decode())
    written(
        directory,
        label="imac",
        server={"name": SERVER_NAME, "addresses": [ADDRESS], "port": notifier.named.tls_port},
        ca=str(shown.ca),
        certificate=str(directory / "x509" / "btmm.pem"),
        tsig={
            "name": str(notifier.named.key.name),
            "algorithm": "hmac-sha256",
            "secret_file": str(directory / "all.secret"),
        },
    )
    return config_module.load(directory)


def announce(notifier: Notifier) -> None:
    update(notifier, f"add _dns-push-tls._tcp 60 SRV 0 0 {notifier.ports.push} zone", "add zone 60 A 127.0.0.1")


@dataclass
class Heard:
    """What a follower tells."""

    changed: list[tuple[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    def change(self, name: dns.name.Name, rdtype: RdataType) -> None:
        self.changed.append((str(name.relativize(ZONE)), rdtype.name))


async def async_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within the time: {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def following(config: Config) -> AsyncIterator[tuple[PushFollower, Heard]]:
    heard, client = Heard(), ZoneClient(config)
    polling = PollingFollower(client, heard.change, every_s=0.2)
    follower = PushFollower(config, client, heard.change, polling, heard.methods.append)
    try:
        yield follower, heard
    finally:
        await follower.async_stop()
        client.drop()


def polling_of(follower: PushFollower) -> PollingFollower:
    assert isinstance(follower._otherwise, PollingFollower)
    return follower._otherwise


async def test_servers_are_found_in_the_zone(tmp_path: Path) -> None:
    with notifying() as notifier:
        config = config_for(notifier, tmp_path)
        client = ZoneClient(config)
        with pytest.raises(PushError, match="names no Push or LLQ server"):
            await async_find_servers(config, client)
        update(
            notifier,
            "add _dns-push-tls._tcp 60 SRV 10 0 8853 second",
            "add _dns-push-tls._tcp 60 SRV 0 0 8854 zone",
            "add _dns-llq-tls._tcp 60 SRV 0 0 5533 zone",
            "add _dns-llq._udp 60 SRV 0 0 5352 second",
            "add second 60 A 192.0.2.1",
            "add second 60 AAAA 2001:db8::1",
        )
        assert await async_find_servers(config, client) == [
            Server(SERVER_NAME, (ADDRESS,), 8854),  # the address that the configuration has for it
            Server("second.bob.members.example", ("192.0.2.1", "2001:db8::1"), 8853),
            Server(SERVER_NAME, (ADDRESS,), 5533, "llq-tls"),
            Server("second.bob.members.example", ("192.0.2.1",), 5352, "llq"),
            Server("second.bob.members.example", ("2001:db8::1",), 5352, "llq"),
        ]
        client.drop()


async def test_changes_are_heard_by_push_and_the_first_answer_is_none(tmp_path: Path) -> None:
    with notifying() as notifier:
        announce(notifier)
        update(notifier, "add mini 60 A 192.0.2.1")
        async with following(config_for(notifier, tmp_path)) as (follower, heard):
            await follower.async_follow(frozenset({(MINI, A)}))
            await async_until(lambda: heard.methods == ["push"], "a session")
            # It may have changed since it was polled last. What Push tells at first is no change.
            assert (follower.method, heard.changed) == ("push", [("mini", "A")])
            heard.changed.clear()
            update(notifier, "delete mini A", "add mini 60 A 192.0.2.2")
            await async_until(lambda: heard.changed == [("mini", "A")], "the move")
            await follower.async_follow(frozenset({(MINI, A), (MINI, SRV)}))
            update(notifier, "add mini 60 SRV 0 0 1 mini")
            await async_until(lambda: ("mini", "SRV") in heard.changed, "what was asked for later")


async def test_polling_goes_on_where_nobody_pushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_client, "FIRST_RETRY_S", 0.1)
    monkeypatch.setattr(push_client, "LAST_RETRY_S", 0.1)
    with notifying() as notifier:
        update(notifier, "add mini 60 A 192.0.2.1")
        async with following(config_for(notifier, tmp_path)) as (follower, heard):
            await follower.async_follow(frozenset({(MINI, A)}))
            await async_until(lambda: bool(polling_of(follower)._held), "polled once")
            assert (follower.method, heard.methods) == ("polling", [])
            update(notifier, "add mini 60 A 192.0.2.2")
            await async_until(lambda: heard.changed == [("mini", "A")], "polled")
            announce(notifier)
            await async_until(lambda: heard.methods == ["push"], "pushed as soon as there is a server")
            notifier.process.terminate()
            await async_until(lambda: heard.methods == ["push", "polling"], "polled again")
            update(notifier, "add mini 60 A 192.0.2.3")
            await async_until(lambda: len(heard.changed) > 1, "heard by polling")


@pytest.mark.parametrize("kind", ["llq-tls", "llq"])
async def test_llq_is_used_where_nobody_pushes(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_client, "BETTER_S", 1.0)
    with notifying(hosts=("imac",)) as notifier:
        service, port = {
            "llq-tls": ("_dns-llq-tls._tcp", notifier.ports.llq_tls),
            "llq": ("_dns-llq._udp", notifier.ports.llq),
        }[kind]
        update(notifier, f"add {service} 60 SRV 0 0 {port} zone", "add zone 60 A 127.0.0.1", "add mini 60 A 192.0.2.1")
        # Push is announced, but nobody is there.
        update(notifier, "add _dns-push-tls._tcp 60 SRV 0 0 1 zone")
        async with following(config_for(notifier, tmp_path)) as (follower, heard):
            await follower.async_follow(frozenset({(MINI, A)}))
            await async_until(lambda: heard.methods == ["llq"], "a session")
            heard.changed.clear()
            update(notifier, "delete mini A", "add mini 60 A 192.0.2.2")
            await async_until(lambda: ("mini", "A") in heard.changed, "the move")
            # What is better is looked for again, and taken when it is back.
            update(
                notifier,
                "delete _dns-push-tls._tcp",
                f"add _dns-push-tls._tcp 60 SRV 0 0 {notifier.ports.push} zone",
            )
            await async_until(lambda: heard.methods[-1] == "push", "Push")


@pytest.mark.parametrize("kind", ["push", "llq"])
async def test_what_a_server_refuses_is_polled_and_asked_again(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_client, "AGAIN_S", 1.0)
    # What the server says counts, but nobody waits for minutes here.
    monkeypatch.setattr(dso, "parse_retry_delay", lambda _message: None)
    hosts = [dns.name.from_text(f"h{number}", ZONE) for number in range(3)]
    crl = names.crl_name(ZONE)
    with notifying(hosts=("imac",), limits=Limits(subscriptions_per_session=2, llqs_per_client=2)) as notifier:
        if kind == "push":
            announce(notifier)
        else:
            update(notifier, f"add _dns-llq._udp 60 SRV 0 0 {notifier.ports.llq} zone", "add zone 60 A 127.0.0.1")
        async with following(config_for(notifier, tmp_path)) as (follower, heard):
            sets = frozenset({(crl, TXT), *((host, TXT) for host in hosts)})
            await follower.async_follow(sets)
            await async_until(lambda: heard.methods == [kind], "a session")
            left = follower._left()
            assert len(left) == 2
            assert (crl, TXT) not in left
            await async_until(lambda: len(polling_of(follower)._held) == 2, "the others are polled")
            heard.changed.clear()
            for number, name in enumerate((crl, *hosts)):
                update(notifier, f"add {name} 60 TXT {number}")
            await async_until(lambda: len(set(heard.changed)) == 4, "all are heard")
            # One that was granted is followed no more: there is room for another.
            granted = next(each for each in sets - left if each[0] != crl)
            await follower.async_follow(sets - {granted})
            if kind == "push":
                await async_until(lambda: len(follower._left()) == 1, "what was refused is asked again")


async def test_a_change_between_the_last_poll_and_the_first_answer_is_told(tmp_path: Path) -> None:
    with notifying() as notifier:
        update(notifier, "add mini 60 A 192.0.2.1")
        async with following(config_for(notifier, tmp_path)) as (follower, heard):
            await follower.async_follow(frozenset({(MINI, A)}))
            polling = polling_of(follower)
            await async_until(lambda: bool(polling._held), "polled")
            await polling.async_stop()
            update(notifier, "delete mini A", "add mini 60 A 192.0.2.2")
            announce(notifier)
            follower.reconnect()
            await async_until(lambda: heard.methods == ["push"], "a session")
            assert heard.changed == [("mini", "A")]


async def test_a_sidebar_shows_what_comes_and_goes(tmp_path: Path) -> None:
    with notifying() as notifier:
        announce(notifier)
        config = config_for(notifier, tmp_path)
        lines: list[str] = []
        sidebar = Sidebar(
            ZONE, None, lambda sign, line: lines.append(f"{sign}{line['title']} {line['type']} {line['port']}")
        )
        zone_client = ZoneClient(config)

        def take(changes: Sequence[Change]) -> None:
            sidebar.take(changes)
            client.follow(sidebar.questions())

        client = make_client(config, zone_client, take, lambda _server, _error: None, lambda _questions: None)
        client.follow(sidebar.questions())
        running = asyncio.create_task(client.async_run())
        instance = names.instance_name("Bob's Mini", "_ssh._tcp", ZONE).relativize(ZONE)
        try:
            update(
                notifier,
                "add _services._dns-sd._udp 60 PTR _ssh._tcp",
                f"add _ssh._tcp 60 PTR {instance}",
                f"add {instance} 60 SRV 0 0 22 mini",
            )
            await async_until(lambda: lines == ["+Bob's Mini _ssh._tcp 22"], "it appears")
            update(notifier, f"delete _ssh._tcp PTR {instance}.{ZONE}", f"delete {instance}")
            await async_until(lambda: lines[1:] == ["-Bob's Mini _ssh._tcp 22"], "it vanishes")
        finally:
            running.cancel()
            zone_client.drop()
