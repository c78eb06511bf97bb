# SPDX-License-Identifier: GPL-3.0-or-later
"""The Push client when its path dies, as with every move: it waits for no farewell, and for no retry that is far."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import push_client
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushClient, Server

from tests.deadpath import dead_path
from tests.named import ADDRESS, free_port
from tests.unit.notifier.test_push_client import (
    PTR,
    SSH,
    TXT,
    async_answer_keepalive,
    async_until,
    behaving,
    context,
    following,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError

AT_ONCE_S = 3.0
Kind = Literal["push", "llq-tls"]
KINDS: tuple[Kind, ...] = ("push", "llq-tls")


async def async_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await async_answer_keepalive(reader, writer)
    await reader.read()


async def async_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_move_the_next_session_begins_at_once(tmp_path: Path, kind: Kind) -> None:
    behave = async_answer if kind == "push" else async_silent
    async with behaving(tmp_path, behave) as (server, shown, _), dead_path(server.port) as path:
        way = replace(server, port=path.port, kind=kind)
        async with following([way], shown, Question(SSH, PTR)) as (client, _):
            await async_until(lambda: path.came == 1, "a session")
            await asyncio.sleep(0.3)
            await path.async_die()
            client.reconnect()
            await async_until(lambda: path.came == 2, "the next session", AT_ONCE_S)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_waits_for_no_farewell_over_a_dead_path(tmp_path: Path, kind: Kind) -> None:
    behave = async_answer if kind == "push" else async_silent
    async with behaving(tmp_path, behave) as (server, shown, _), dead_path(server.port) as path:
        way = replace(server, port=path.port, kind=kind)
        async with following([way], shown, Question(SSH, PTR)):
            await async_until(lambda: path.came == 1, "a session")
            await asyncio.sleep(0.3)
            await path.async_die()
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < AT_ONCE_S


@pytest.mark.parametrize("order", [PushClient.reconnect, PushClient.hasten])
async def test_a_change_of_the_network_cuts_the_wait_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Callable[[PushClient], None]
) -> None:
    monkeypatch.setattr(push_client, "FIRST_RETRY_S", 60.0)
    rounds: list[int] = []
    states: list[str] = []

    async def async_servers() -> Sequence[Server]:
        rounds.append(1)
        return [Server("nobody", (ADDRESS,), free_port())]

    def told(_: Server | None, error: PushError | None) -> None:
        states.append(str(error))

    async with behaving(tmp_path, async_silent) as (_, shown, _):
        client = PushClient(async_servers, lambda: context(shown), lambda _: None, told)
        client.follow([Question(SSH, PTR)])
        running = asyncio.create_task(client.async_run())
        await async_until(lambda: len(states) == 1, "a failure")
        order(client)
        await async_until(lambda: len(rounds) == 2, "another try", AT_ONCE_S)
        running.cancel()


async def test_what_is_asked_for_before_there_is_a_session_breaks_none(tmp_path: Path) -> None:
    """Else a host that begins to follow more at that moment takes its server for broken, for an hour."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        await go_on.wait()
        await async_answer(reader, writer)

    async with behaving(tmp_path, behave) as (server, shown, _), following([server], shown, Question(SSH, PTR)) as rig:
        client, told = rig
        await began.wait()
        await async_until(lambda: client._session is not None, "the first message")
        client.follow([Question(SSH, PTR), Question(SSH, TXT)])
        go_on.set()
        await asyncio.sleep(0.3)
        assert not told.states


async def test_after_a_move_the_best_server_is_asked_first_again(tmp_path: Path) -> None:
    async with behaving(tmp_path, async_answer) as (server, shown, came):
        (tmp_path / "other").mkdir()
        async with behaving(tmp_path / "other", async_silent) as (second, _, came_there):
            other = replace(second, kind="llq-tls")
            async with following([server, other], shown, Question(SSH, PTR)) as (client, _):
                await async_until(lambda: len(came) == 1, "a session")
                await asyncio.sleep(0.2)
                client.reconnect()
                await async_until(lambda: len(came) == 2, "the next session", AT_ONCE_S)
                assert not came_there
