# SPDX-License-Identifier: GPL-3.0-or-later
"""The Push client at a real notifier beside a real BIND, and at servers that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push_client
from ansible_collections.btmm.fleet.plugins.module_utils.push import REMOVE, Change, Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushClient, PushError, Server
from ansible_collections.btmm.fleet.plugins.module_utils.tls import server_context

from tests.certificates import Certificate, Owner
from tests.named import ADDRESS, free_port
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying
from tests.unit.notifier.test_push_server import update

PTR, TXT = 12, 16
SSH = dns.name.from_text("_ssh._tcp", ZONE)
PATIENCE_S = 10.0


@dataclass
class Told:
    """What a client tells."""

    changes: list[Change] = field(default_factory=list)
    states: list[Server | str | None] = field(default_factory=list)

    def changed(self, changes: Sequence[Change]) -> None:
        self.changes += changes

    def state(self, server: Server | None, error: PushError | None) -> None:
        self.states.append(server or str(error))

    def texts(self) -> list[str]:
        return [f"{'-' if c.ttl == REMOVE else '+'}{c.rdata}" for c in self.changes]


async def async_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"not within the time: {what}"
        await asyncio.sleep(0.01)


def context(shown: Certificate) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(shown.ca))
    made.set_alpn_protocols(["dot"])
    made.load_cert_chain(shown.certificate, shown.key)
    return made


@contextlib.asynccontextmanager
async def following(
    servers: Sequence[Server], shown: Certificate, *questions: Question
) -> AsyncIterator[tuple[PushClient, Told]]:
    async def async_servers() -> Sequence[Server]:
        return servers

    told = Told()
    client = PushClient(async_servers, lambda: context(shown), told.changed, told.state)
    client.follow(questions)
    running = asyncio.create_task(client.async_run())
    try:
        yield client, told
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def server_of(notifier: Notifier) -> Server:
    return Server(SERVER_NAME, (ADDRESS,), notifier.ports.push)


async def test_changes_come_and_questions_come_and_go() -> None:
    with notifying() as notifier:
        update(notifier, "add _ssh._tcp 60 PTR a._ssh._tcp")
        async with following([server_of(notifier)], notifier.host(), Question(SSH, PTR)) as (client, told):
            await async_until(lambda: told.states == [server_of(notifier)], "synced")
            assert told.texts() == ["+a._ssh._tcp.bob.members.example."]
            update(notifier, "delete _ssh._tcp", "add _ssh._tcp 60 PTR b._ssh._tcp", "add x 60 TXT y")
            await async_until(lambda: len(told.changes) == 3, "one away, one there")
            assert sorted(told.texts()[1:]) == [
                "+b._ssh._tcp.bob.members.example.",
                "-a._ssh._tcp.bob.members.example.",
            ]
            client.follow([Question(dns.name.from_text("x", ZONE), TXT)])
            await async_until(lambda: told.texts()[3:] == ['+"y"'], "the new question")
            update(notifier, "add _ssh._tcp 60 PTR c._ssh._tcp", "add x 60 TXT z")
            await async_until(lambda: told.texts()[4:] == ['+"z"'], "nothing of the old question")


async def test_after_a_loss_only_what_is_different_is_told() -> None:
    with notifying() as notifier:
        update(notifier, "add _ssh._tcp 60 PTR a._ssh._tcp", "add _ssh._tcp 60 PTR b._ssh._tcp")
        server = server_of(notifier)
        servers = [server]
        async with following(servers, notifier.host(), Question(SSH, PTR)) as (client, told):
            await async_until(lambda: told.states == [server], "synced")
            assert len(told.changes) == 2
            servers.clear()
            client.reconnect()
            await async_until(lambda: len(told.states) > 1, "the loss")
            update(notifier, "delete _ssh._tcp PTR b._ssh._tcp.bob.members.example.")
            servers.append(server)
            client.hasten()
            await async_until(lambda: told.states[-1] == server, "synced again")
            assert told.texts()[2:] == ["-b._ssh._tcp.bob.members.example."]


async def test_the_next_server_is_asked_when_the_first_is_away() -> None:
    with notifying() as notifier:
        servers = [Server(SERVER_NAME, (ADDRESS,), free_port()), server_of(notifier)]
        async with following(servers, notifier.host(), Question(SSH, PTR)) as (_, told):
            await async_until(lambda: told.states == [servers[1]], "the second server")


async def test_another_ca_counts_from_the_next_session_on(tmp_path: Path) -> None:
    """The owner's CA may be changed while a client runs (rollover.yml)."""
    with notifying() as notifier:
        server, own = server_of(notifier), notifier.host()
        shown = replace(own, ca=tmp_path / "anchors.pem")
        shown.ca.write_text(Owner(tmp_path).ca.read_text())
        async with following([server], shown, Question(SSH, PTR)) as (client, told):
            await async_until(lambda: "not trusted" in str(told.states[-1:]), "not trusted")
            shown.ca.write_text(shown.ca.read_text() + own.ca.read_text())
            client.reconnect()
            await async_until(lambda: told.states[-1] == server, "synced")


async def test_a_refusal_is_told_in_a_sentence() -> None:
    with notifying() as notifier:
        foreign = Question(dns.name.from_text("_ssh._tcp.alice.members.example"), PTR)
        async with following([server_of(notifier)], notifier.host(), foreign) as (_, told):
            await async_until(lambda: bool(told.states), "refused")
            assert "refuses (NOTAUTH)" in str(told.states[0])


@contextlib.asynccontextmanager
async def behaving(
    directory: Path, behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[tuple[Server, Certificate, list[int]]]:
    """A server of which only TLS is right; yield it, a client's certificate, and how many came."""
    owner = Owner(directory)
    shown = owner.server()
    came: list[int] = []

    async def async_serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(1)
        with contextlib.suppress(OSError, EOFError):
            await behave(reader, writer)
        writer.close()

    tls = server_context(shown.certificate, shown.key, owner.ca, ["dot"])
    server = await asyncio.start_server(async_serve, ADDRESS, 0, ssl=tls)
    try:
        yield Server(SERVER_NAME, (ADDRESS,), server.sockets[0].getsockname()[1]), owner.host(), came
    finally:
        server.close()


async def async_answer_keepalive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = int.from_bytes(await reader.readexactly(2), "big")
    message = dso.parse(await reader.readexactly(size))
    wire = dso.encode([dso.keepalive(dso.Keepalive(15_000, 60_000))], message.id, response=True)
    writer.write(len(wire).to_bytes(2, "big") + wire)


BAD_MESSAGES = {
    "noise": b"\0\0\0",
    "response with ID 0": bytes.fromhex("0000 b000 0000 0000 0000 0000"),
    "PUSH without changes": bytes.fromhex("0000 3000 0000 0000 0000 0000 0041 0000"),
    "unknown type": bytes.fromhex("0000 3000 0000 0000 0000 0000 f800 0000"),
    "request": bytes.fromhex("0001 3000 0000 0000 0000 0000 0001 0008 00003a98 00003a98"),
    "interval of nothing": bytes.fromhex("0000 3000 0000 0000 0000 0000 0001 0008 00003a98 00000000"),
}


@pytest.mark.parametrize("kind", BAD_MESSAGES)
async def test_a_server_that_breaks_the_protocol_is_left_alone(tmp_path: Path, kind: str) -> None:
    wire = BAD_MESSAGES[kind]

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await async_answer_keepalive(reader, writer)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await reader.read()

    async with behaving(tmp_path, behave) as (server, shown, came):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(push_client, "FIRST_RETRY_S", 0.05)
            async with following([server], shown, Question(SSH, PTR)) as (_, told):
                await async_until(lambda: len(told.states) > 1, "two rounds")
                assert "breaks the protocol" in str(told.states[0])
                assert len(came) == 1  # RFC 8490 section 6.6.3.1


async def test_a_server_that_says_to_stay_away_is_obeyed(tmp_path: Path) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await async_answer_keepalive(reader, writer)
        wire = dso.encode([dso.retry_delay(1_000)], rcode=dso.Rcode.SERVFAIL)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await reader.read()

    async with behaving(tmp_path, behave) as (server, shown, came):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(push_client, "FIRST_RETRY_S", 0.05)
            patch.setattr(push_client, "LAST_RETRY_S", 0.05)
            begun = time.monotonic()
            async with following([server], shown, Question(SSH, PTR)) as (_, told):
                await async_until(lambda: len(came) == 2, "it came again")
                assert time.monotonic() - begun >= 1.0
                assert told.states


async def test_a_server_that_asks_no_certificate_of_ours_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with behaving(tmp_path, behave) as (server, _, _):
        stranger = Owner(tmp_path / "other").host()
        async with following([server], stranger, Question(SSH, PTR)) as (_, told):
            await async_until(lambda: bool(told.states), "not trusted")
            assert "its certificate is not trusted" in str(told.states[0])
