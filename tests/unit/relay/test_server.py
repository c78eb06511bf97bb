# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole relay on loopback: real TLS with the owner's certificates, real UDP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import pytest_asyncio
from ansible_collections.btmm.fleet.plugins.module_utils import rendezvous as wire
from ansible_collections.btmm.fleet.plugins.module_utils.tls import server_context

from relay import matchmaker, server, session
from relay.limits import Limits
from relay.server import Relay
from tests.certificates import Certificate, Owner
from tests.unit.relay.samples import ESP

Make = Callable[[], socket.socket]
ZONE = "bob.members.example"
LOOPBACK = IPv4Address("127.0.0.1")


def serving(owner: Owner) -> ssl.SSLContext:
    own = owner.server()
    return server_context(own.certificate, own.key, owner.ca, [wire.PROTOCOL], revoked=owner.crl)


def calling(owner: Owner, own: Certificate | None) -> ssl.SSLContext:
    """Return a client's context with a certificate, or with none."""
    context = ssl.create_default_context(cafile=str(owner.ca))
    context.set_alpn_protocols([wire.PROTOCOL])
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


class Host:
    """A host at the relay, with a socket of its own for UDP 4500."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, udp: socket.socket) -> None:
        self._reader = reader
        self.writer = writer
        self.udp = udp

    def say(self, message: wire.Message) -> None:
        self.writer.write(wire.encode(message))

    async def hear(self) -> wire.Message:
        async with asyncio.timeout(3):
            length = wire.message_length(await self._reader.readexactly(2))
            return wire.decode(await self._reader.readexactly(length), wire.FROM_RELAY)

    async def hear_open(self) -> wire.Open:
        message = await self.hear()
        assert isinstance(message, wire.Open), message
        return message

    async def open(self, message: wire.Open, *, moving: bool = False) -> None:
        """Do what an `Open` asks for; from a new port for each port of the relay when the NAT is like that."""
        for port in message.ports:
            datagram = wire.token_datagram(message.token)
            if moving:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind(("127.0.0.1", 0))
                    source = sock.getsockname()[1]
                    sock.sendto(datagram, ("127.0.0.1", port))
            else:
                source = self.udp.getsockname()[1]
                self.udp.sendto(datagram, ("127.0.0.1", port))
            assert await self.hear() == wire.Observed(port, LOOPBACK, source)

    async def ended(self) -> bool:
        """Tell whether the relay closed the connection."""
        try:
            async with asyncio.timeout(3):
                return await self._reader.read() == b""
        except (ConnectionError, ssl.SSLError):
            return True


class Site:
    """A relay and its hosts."""

    def __init__(self, relay: Relay, owner: Owner, port: int, udp: Make) -> None:
        self.relay = relay
        self.port = port
        self.owner = owner
        self._udp = udp
        self._hosts: list[Host] = []

    async def connect(self, context: ssl.SSLContext) -> Host:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=f"zone.{ZONE}"
        )
        host = Host(reader, writer, self._udp())
        self._hosts.append(host)
        return host

    async def register(self, label: str, *, moving: bool = False) -> Host:
        host = await self.connect(calling(self.owner, self.owner.host(label)))
        await host.open(await host.hear_open(), moving=moving)
        return host

    def close(self) -> None:
        for host in self._hosts:
            host.writer.transport.abort()


@pytest_asyncio.fixture
async def site(owner: Owner, udp: Make, ports: range) -> AsyncIterator[Site]:
    relay = Relay(ZONE, ports[0], ports[2:], Limits(hosts=3))
    await relay.async_start(serving(owner))
    made = Site(relay, owner, ports[0], udp)
    yield made
    made.close()
    await made.relay.async_stop()


async def test_a_host_learns_where_it_is_seen(site: Site) -> None:
    host = await site.connect(calling(site.owner, site.owner.host()))
    message = await host.hear_open()
    assert message.ports == (site.port, site.port + 1)
    assert message.peer == ""
    await host.open(message)
    host.say(wire.Ping())
    assert await host.hear() == wire.Pong()


async def relayed(caller: Host, called: Host, number: int, label: str) -> tuple[wire.Open, wire.Open]:
    """Connect by a flow; return what each end was told."""
    caller.say(wire.Connect(number, label, wire.RELAYED))
    own, other = await caller.hear_open(), await called.hear_open()
    await caller.open(own)
    await called.open(other)
    assert await caller.hear() == wire.Ready(number, own.flow, None, own.ports[0])
    return own, other


async def test_two_hosts_are_relayed(site: Site) -> None:
    imac, mini = await site.register("imac"), await site.register("mini")
    own, other = await relayed(imac, mini, 5, "mini")
    assert (own.peer, other.peer) == ("mini", "imac")
    imac.udp.sendto(ESP, ("127.0.0.1", own.ports[0]))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(2):
        octets, source = await loop.sock_recvfrom(mini.udp, 65535)
    assert (octets, source[1]) == (ESP, other.ports[0])


async def test_a_peer_that_is_away_is_named(site: Site) -> None:
    imac = await site.register("imac")
    for peer in ("mini", "imac"):
        imac.say(wire.Connect(1, peer, wire.RELAYED))
        assert await imac.hear() == wire.Failed(1, f"{peer} is not connected to the relay")


async def test_a_peer_that_does_not_open_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OPEN_WITHIN_S", 0.1)
    imac, mini = await site.register("imac"), await site.register("mini")
    imac.say(wire.Connect(1, "mini", wire.RELAYED))
    await imac.open(await imac.hear_open())
    await mini.hear_open()
    assert await imac.hear() == wire.Failed(1, "no datagram from UDP 4500 of mini reached the relay")


async def test_nats_that_keep_the_port_are_opened_for_a_direct_call(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On one machine both have one address; here that shall not count as one NAT.
    monkeypatch.setattr(matchmaker, "same_nat", lambda first, second: False)
    imac, mini = await site.register("imac"), await site.register("mini")
    imac.say(wire.Connect(9, "mini", wire.MEDIATED))
    await imac.open(await imac.hear_open())
    await mini.open(await mini.hear_open())
    punch = await mini.hear()
    assert isinstance(punch, wire.Punch)
    assert (punch.address, punch.port) == (LOOPBACK, imac.udp.getsockname()[1])
    imac.say(wire.Punched(punch.flow))  # only the called end's word counts
    mini.say(wire.Punched(punch.flow))
    assert await imac.hear() == wire.Ready(9, punch.flow, LOOPBACK, mini.udp.getsockname()[1])


async def test_hosts_behind_one_nat_are_not_mediated(site: Site) -> None:
    imac, mini = await site.register("imac"), await site.register("mini")
    imac.say(wire.Connect(9, "mini", wire.MEDIATED))
    await imac.open(await imac.hear_open())
    await mini.open(await mini.hear_open())
    assert await imac.hear() == wire.Failed(9, "imac and mini are behind the same NAT")


async def test_a_nat_with_other_ports_is_not_mediated(site: Site) -> None:
    imac, mini = await site.register("imac"), await site.register("mini", moving=True)
    imac.say(wire.Connect(9, "mini", wire.MEDIATED))
    await imac.open(await imac.hear_open())
    await mini.open(await mini.hear_open(), moving=True)
    assert await imac.hear() == wire.Failed(9, "the NAT of mini gives another port to every destination")


async def test_mediation_without_an_answer_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matchmaker, "WAIT_S", 0.1)
    imac, mini = await site.register("imac"), await site.register("mini")
    imac.say(wire.Connect(9, "mini", wire.MEDIATED))
    await imac.open(await imac.hear_open())
    await mini.hear_open()
    assert await imac.hear() == wire.Failed(9, "no answer of both hosts' NATs in time")


async def test_mediation_with_a_host_that_leaves_ends(site: Site) -> None:
    imac, mini = await site.register("imac"), await site.register("mini")
    imac.say(wire.Connect(9, "mini", wire.MEDIATED))
    await imac.open(await imac.hear_open())
    mini.writer.close()
    assert await imac.hear() == wire.Failed(9, "mini left the relay")


async def test_flows_outlive_the_relay(site: Site, owner: Owner, ports: range) -> None:
    imac, mini = await site.register("imac"), await site.register("mini")
    own, other = await relayed(imac, mini, 1, "mini")
    await site.relay.async_stop()
    assert await imac.ended()
    site.relay = Relay(ZONE, ports[0], ports[2:], Limits())
    await site.relay.async_start(serving(owner))
    for host, label, peer, told in ((imac, "imac", "mini", own), (mini, "mini", "imac", other)):
        again = await site.register(label)
        again.udp = host.udp  # the NAT's port is as it was
        again.say(wire.Resume(told.flow, peer, told.ports[0]))
        resumed = await again.hear_open()
        assert (resumed.flow, resumed.peer, resumed.ports) == (told.flow, peer, told.ports)
        await again.open(resumed)
    imac.udp.sendto(ESP, ("127.0.0.1", own.ports[0]))
    async with asyncio.timeout(2):
        assert await asyncio.get_running_loop().sock_recv(mini.udp, 65535) == ESP


async def test_a_flow_that_cannot_be_resumed_ends(site: Site) -> None:
    imac = await site.register("imac")
    imac.say(wire.Resume("ab" * 16, "mini", 9))
    assert await imac.hear() == wire.Ended("ab" * 16)


async def test_a_host_that_comes_again_replaces_itself(site: Site) -> None:
    imac, mini = await site.register("imac"), await site.register("mini")
    again = await site.register("imac")
    assert await imac.ended()
    await relayed(mini, again, 1, "imac")


async def refused(site: Site, context: ssl.SSLContext) -> bool:
    """Tell whether a client is sent away. With TLS 1.3 the client's handshake ends before the server judges it."""
    try:
        host = await site.connect(context)
    except (ssl.SSLError, ConnectionError):
        return True
    return await host.ended()


async def test_only_hosts_of_the_owner_come_in(site: Site, owner: Owner, tmp_path: Path) -> None:
    assert await refused(site, calling(owner, None))
    assert await refused(site, calling(owner, owner.server()))
    assert await refused(site, calling(owner, Owner(tmp_path).host()))
    await site.register("imac")


async def test_a_revoked_host_is_refused_after_a_restart(site: Site, owner: Owner, ports: range) -> None:
    revoked = owner.host("old", 2)
    await (await site.connect(calling(owner, revoked))).hear_open()
    owner.revoke(revoked)
    await site.relay.async_stop()
    site.relay = Relay(ZONE, ports[0], ports[2:], Limits())
    await site.relay.async_start(serving(owner))
    assert await refused(site, calling(owner, revoked))
    await site.register("imac")


async def test_hosts_are_bounded(site: Site) -> None:
    for label in ("a", "b", "c"):
        await site.register(label)
    assert await refused(site, calling(site.owner, site.owner.host("d")))
    await site.register("a")  # back again is no more than before


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff\xff",
        b"\x00\x00",
        b"\x00\x02{}",
        b"\x00\x0f" + b'{"type":"pong"}',
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\4\0\0\0\0",
    ],
)
async def test_garbage_ends_the_connection_and_nothing_else(site: Site, octets: bytes) -> None:
    mini = await site.register("mini")
    imac = await site.register("imac")
    imac.writer.write(octets)
    assert await imac.ended()
    mini.say(wire.Ping())
    assert await mini.hear() == wire.Pong()


async def test_a_flood_ends_the_connection(site: Site) -> None:
    imac = await site.register("imac")
    imac.writer.write(wire.encode(wire.Ping()) * 500)
    with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
        for _ in range(400):
            assert await imac.hear() == wire.Pong()
        pytest.fail("500 messages at once were all answered")


async def test_a_silent_host_is_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SILENT_S", 0.1)
    imac = await site.register("imac")
    assert await imac.ended()
    assert site.relay.summary.startswith("0 hosts")


async def test_tokens_of_nobody_are_ignored(site: Site, udp: Make) -> None:
    stranger = udp()
    stranger.sendto(wire.token_datagram("00" * 16), ("127.0.0.1", site.port))
    stranger.sendto(b"hello", ("127.0.0.1", site.port))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.get_running_loop().sock_recv(stranger, 64)
