# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page shows follows the zone by Push from a real notifier, and the daemon's own file."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import Server

from tests.notifier import ZONE, notifying
from tests.unit.notifier.test_push_server import update
from tests.unit.watcher.test_push_follow import announce, async_until, config_for
from watcher import places
from watcher.config import Config
from watcher.page import feed as feed_module
from watcher.page.board import Board
from watcher.page.feed import Feed

NAME = "bob.members.example"
PEER = {"name": f"mini.{NAME}", "outer": "203.0.113.20:4500", "rung": "direct"}


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what writes the daemon's status file."""
    monkeypatch.setattr(places, "CONFIG_ROOT", tmp_path / "etc")
    monkeypatch.setattr(places, "RUN_ROOT", tmp_path / "run")
    (tmp_path / "run" / NAME).mkdir(parents=True)

    def write(**values: Any) -> None:
        (tmp_path / "run" / NAME / "status.json").write_text(json.dumps({"host": f"imac.{NAME}", **values}))

    write(peers=[])
    return write


@contextlib.asynccontextmanager
async def feeding(config: Config | None) -> AsyncIterator[Callable[[], dict[str, Any]]]:
    """Have a board fed that somebody looks at; what is yielded returns what it shows."""
    board = Board()

    def shown() -> dict[str, Any]:
        (zone,) = json.loads(board.after(-1, 0)[1] or "[]") or [{}]
        return {"hosts": None, "follow": None, "fault": None, **zone}

    running = asyncio.create_task(Feed(NAME, board, config).async_run())
    try:
        with board.reader():
            yield shown
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def states(shown: dict[str, Any]) -> dict[str, str]:
    return {host["title"]: host["state"] for host in shown["hosts"] or ()}


async def test_hosts_come_and_go_by_push_and_tunnels_by_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: Callable[..., None]
) -> None:
    monkeypatch.setattr(feed_module, "POLL_S", 0.1)
    instance = names.instance_name("Bob's Mini", "_ssh._tcp", ZONE).relativize(ZONE)
    with notifying() as notifier:
        announce(notifier)
        update(
            notifier,
            "add _services._dns-sd._udp 60 PTR _ssh._tcp",
            f"add _ssh._tcp 60 PTR {instance}",
            f"add {instance} 60 SRV 0 0 22 mini",
            "add _autotunnel._udp.mini 60 SRV 10 0 4500 at",
        )
        async with feeding(config_for(notifier, tmp_path)) as shown:
            await async_until(lambda: states(shown()) == {"Bob's Mini": "idle", "imac": "here"}, "the host")
            assert (shown()["follow"], shown()["fault"]) == ("push", None)
            status(peers=[PEER])
            await async_until(lambda: states(shown())["Bob's Mini"] == "tunnel", "the tunnel")
            status(peers=[])
            update(notifier, "delete _autotunnel._udp.mini")
            await async_until(lambda: states(shown())["Bob's Mini"] == "unreachable", "it can't be called")
            # A server that goes leaves what was known, and says why nothing comes; here no stub answers either.
            notifier.process.terminate()
            await async_until(lambda: shown()["follow"] == "polling" and bool(shown()["fault"]), "the loss")
            assert "can't be browsed" in shown()["fault"]
            assert states(shown()) == {"Bob's Mini": "unreachable", "imac": "here"}


async def test_the_page_polls_while_the_server_leaves_anything_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: Callable[..., None]
) -> None:
    monkeypatch.setattr(feed_module, "_SETTLE_S", 0.05)
    with notifying() as notifier:
        feed = Feed(NAME, Board(), config_for(notifier, tmp_path))
    server = Server("zone.bob.members.example", ("127.0.0.1",), 8853)
    feed._refuse({Question(ZONE, 16)})
    feed._state(server, None)
    await asyncio.sleep(0.2)
    assert feed._method == "polling"
    feed._refuse(frozenset())
    await async_until(lambda: feed._method == "push", "all is followed")
    feed._refuse({Question(ZONE, 16)})
    assert feed._method == "polling"


async def test_without_a_daemon_the_page_says_so(status: Callable[..., None]) -> None:
    (places.RUN_ROOT / NAME / "status.json").unlink()
    async with feeding(None) as shown:
        await async_until(lambda: bool(shown()["fault"]), "the fault")
        assert "the daemon does not run" in shown()["fault"]
        assert (shown()["hosts"], shown()["follow"]) == (None, "polling")


async def test_nothing_is_asked_while_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, status: Callable[..., None]
) -> None:
    monkeypatch.setattr(feed_module, "TICK_S", 0.01)
    board = Board()
    running = asyncio.create_task(Feed(NAME, board, None).async_run())
    try:
        await asyncio.sleep(0.2)
        assert board.after(-1, 0) == (0, "[]")
        with board.reader():
            await async_until(lambda: board.after(0, 0)[1] is not None, "somebody looks")
    finally:
        running.cancel()
