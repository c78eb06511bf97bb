# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts at a real relay on loopback: registered, brought together, back after a restart."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.message
import dns.name
import dns.rrset
import pytest
import pytest_asyncio
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Server
from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import PROTOCOL
from ansible_collections.btmm.fleet.plugins.module_utils.tls import server_context

from relay import matchmaker
from relay.limits import Limits
from relay.server import Relay
from tests.certificates import Owner
from tests.unit.relay.samples import ESP
from tests.unit.watcher.conftest import written
from watcher import backoff, config, relay_discovery, rendezvous
from watcher.errors import TunnelError
from watcher.rendezvous import Rendezvous

ZONE = "bob.members.example"
LOOPBACK = IPv4Address("127.0.0.1")
MEDIATED: Any = SimpleNamespace(rung="mediated")
RELAYED: Any = SimpleNamespace(rung="relayed")


class Zone:
    """Answers as the zone would."""

    def __init__(self, *records: str) -> None:
        self.records = records

    async def async_exchange(self, message: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(message)
        question = message.question[0]
        for line in self.records:
            rrset = dns.rrset.from_text(*line.split(None, 4))  # type: ignore[arg-type]
            if (rrset.name, rrset.rdtype) == (question.name, question.rdtype):
                answer.answer.append(rrset)
        return answer


class Host:
    """A rendezvous, and a socket that stands for charon's; `moving`: its NAT has another port for every destination."""

    def __init__(self, owner: Owner, folder: Path, label: str, zone: Zone, *, moving: bool = False) -> None:
        (folder / "x509").mkdir(parents=True)
        (folder / "private").mkdir()
        issued = owner.host(label)
        certificate = folder / "x509" / "btmm.pem"
        certificate.write_bytes(issued.certificate.read_bytes())
        (folder / "private" / "btmm.pem").write_bytes(issued.key.read_bytes())
        own = config.load(written(folder, label=label))
        self.charon = udp()
        self.sent: list[tuple[bytes, int]] = []
        self.changed = asyncio.Event()
        self.returned = asyncio.Event()
        self._moving = moving
        self.rendezvous = Rendezvous(
            dataclasses.replace(own, ca=owner.ca, certificate=certificate),
            zone,
            self.changed.set,
            self.returned.set,
            self._send,
        )

    def _send(self, payload: bytes, source_port: int, address: IPv4Address | IPv6Address, port: int) -> None:
        assert source_port == 4500
        self.sent.append((payload, port))
        with udp() as other:
            (other if self._moving else self.charon).sendto(payload, (str(address), port))

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(LOOPBACK, self.charon.getsockname()[1])

    async def async_registered(self) -> None:
        async with asyncio.timeout(5):
            await self.changed.wait()


def udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


class Site:
    """A relay that can be stopped and started, and its hosts."""

    def __init__(self, folder: Path, ports: range) -> None:
        self.owner = Owner(folder)
        self.zone = Zone(
            f"_autotunnel-relay._tcp.{ZONE}. 60 IN SRV 0 0 {ports[0]} zone.{ZONE}.", f"zone.{ZONE}. 60 IN A 127.0.0.1"
        )
        self.server = Server(dns.name.from_text(f"zone.{ZONE}."), ports[0])
        self._folder = folder
        self._ports = ports
        self.hosts: list[Host] = []
        self.relay: Relay | None = None

    async def async_start(self) -> None:
        own = self.owner.server()
        self.relay = Relay(ZONE, self._ports[0], self._ports[2:], Limits())
        await self.relay.async_start(server_context(own.certificate, own.key, self.owner.ca, [PROTOCOL]))

    async def async_stop(self) -> None:
        assert self.relay is not None
        await self.relay.async_stop()

    async def host(self, label: str, *, moving: bool = False) -> Host:
        made = Host(self.owner, self._folder / label, label, self.zone, moving=moving)
        self.hosts.append(made)
        made.rendezvous.start()
        await made.async_registered()
        return made


@pytest_asyncio.fixture
async def site(tmp_path: Path, ports: range, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(backoff, "_SOON", (0.05, 1.0, 0.05))
    made = Site(tmp_path, ports)
    await made.async_start()
    yield made
    for host in made.hosts:
        await host.rendezvous.async_stop()
        host.charon.close()
    await made.async_stop()


async def heard(host: Host) -> bytes:
    async with asyncio.timeout(2):
        return await asyncio.get_running_loop().sock_recv(host.charon, 65535)


async def test_a_host_knows_where_it_is_seen_and_what_to_publish(site: Site) -> None:
    imac = await site.host("imac")
    assert imac.rendezvous.observed == imac.endpoint
    assert imac.rendezvous.relays == imac.rendezvous.mediators == (site.server,)
    assert imac.changed.is_set()


async def test_a_host_behind_a_nat_with_other_ports_is_only_relayed(site: Site) -> None:
    imac = await site.host("imac", moving=True)
    assert imac.rendezvous.relays == (site.server,)
    assert imac.rendezvous.mediators == ()
    with pytest.raises(TunnelError, match="our NAT gives another port"):
        await imac.rendezvous.async_prepare(f"mini.{ZONE}", MEDIATED)


async def test_two_hosts_are_relayed(site: Site) -> None:
    imac, mini = await site.host("imac"), await site.host("mini")
    at = await imac.rendezvous.async_prepare(f"mini.{ZONE}", RELAYED)
    assert at.address == LOOPBACK
    imac.charon.sendto(ESP, (str(at.address), at.port))
    assert await heard(mini) == ESP
    # The called end sees its tunnel come from the relay.
    assert mini.rendezvous.rung_of(Endpoint(LOOPBACK, 1)) == "relayed"
    assert mini.rendezvous.rung_of(Endpoint(IPv4Address("192.0.2.1"), 1)) is None
    assert mini.rendezvous.rung_of(Endpoint(LOOPBACK, 4500)) is None


async def test_two_hosts_are_mediated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matchmaker, "same_nat", lambda first, second: False)
    imac, mini = await site.host("imac"), await site.host("mini")
    assert await imac.rendezvous.async_prepare(f"mini.{ZONE}", MEDIATED) == mini.endpoint
    # The called end opened its NAT toward the caller, who sends nothing before the call.
    assert (b"\xff", imac.endpoint.port) in mini.sent
    assert all(len(payload) == 20 for payload, _ in imac.sent)
    assert await heard(imac) == b"\xff"


async def test_a_peer_that_is_away_is_told(site: Site) -> None:
    imac = await site.host("imac")
    with pytest.raises(TunnelError, match="mini is not connected to the relay"):
        await imac.rendezvous.async_prepare(f"mini.{ZONE}", RELAYED)


async def test_without_a_connection_the_sentence_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "REGISTER_S", 0.05)
    imac = await site.host("imac")
    await site.async_stop()
    await asyncio.sleep(0.1)
    with pytest.raises(TunnelError, match="no relay"):
        await imac.rendezvous.async_prepare(f"mini.{ZONE}", RELAYED)
    await site.async_start()


async def test_a_tunnel_survives_a_restart_of_the_relay(site: Site) -> None:
    imac, mini = await site.host("imac"), await site.host("mini")
    at = await imac.rendezvous.async_prepare(f"mini.{ZONE}", RELAYED)
    imac.changed.clear()
    await site.async_stop()
    await site.async_start()
    async with asyncio.timeout(5):
        while True:
            imac.charon.sendto(ESP, (str(at.address), at.port))  # to the same port as before
            try:
                async with asyncio.timeout(0.1):
                    assert await asyncio.get_running_loop().sock_recv(mini.charon, 65535) == ESP
                    break
            except TimeoutError:
                continue
    assert imac.rendezvous.relays == (site.server,)
    assert not imac.changed.is_set()  # nothing to publish anew
    assert imac.returned.is_set()  # but the NAT may have forgotten more than a connection


async def test_a_move_has_us_look_at_where_we_are_seen_even_if_it_is_where_we_were(site: Site) -> None:
    imac = await site.host("imac")
    imac.changed.clear()
    imac.rendezvous.moved()
    assert imac.rendezvous.observed is None  # what was seen is of the network before
    await imac.async_registered()
    assert imac.rendezvous.observed == imac.endpoint
    assert not imac.returned.is_set()


async def test_a_moved_host_takes_its_flows_along(site: Site) -> None:
    imac, mini = await site.host("imac"), await site.host("mini")
    at = await imac.rendezvous.async_prepare(f"mini.{ZONE}", RELAYED)
    imac.charon.sendto(ESP, (str(at.address), at.port))
    assert await heard(mini) == ESP
    former, mini.charon = mini.charon, udp()
    mini.rendezvous.moved()
    async with asyncio.timeout(5):
        while True:
            imac.charon.sendto(ESP, (str(at.address), at.port))
            try:
                async with asyncio.timeout(0.1):
                    assert await asyncio.get_running_loop().sock_recv(mini.charon, 65535) == ESP
                    break
            except TimeoutError:
                continue
    former.close()


async def test_a_relay_that_is_gone_for_long_is_no_longer_published(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "KEPT_S", 0.1)
    imac = await site.host("imac")
    imac.changed.clear()
    await site.async_stop()
    async with asyncio.timeout(5):
        await imac.changed.wait()
    assert imac.rendezvous.relays == imac.rendezvous.mediators == ()
    await site.async_start()


async def test_a_host_that_left_on_its_own_says_nothing_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "KEPT_S", 0.1)
    host = await site.host("imac")
    host.changed.clear()
    await host.rendezvous.async_stop()
    await asyncio.sleep(0.3)
    assert not host.changed.is_set()


async def test_relays_are_found_best_first_and_ipv4_before_ipv6() -> None:
    zone = Zone(
        f"_autotunnel-relay._tcp.{ZONE}. 60 IN SRV 10 0 4601 far.{ZONE}.",
        f"_autotunnel-relay._tcp.{ZONE}. 60 IN SRV 0 0 4501 near.{ZONE}.",
        f"near.{ZONE}. 60 IN AAAA 2001:db8::1",
        f"near.{ZONE}. 60 IN A 192.0.2.1",
        f"far.{ZONE}. 60 IN A 192.0.2.2",
    )
    found = await relay_discovery.async_find(zone, dns.name.from_text(ZONE))
    assert [(str(each.address), each.server.port) for each in found] == [
        ("192.0.2.1", 4501),
        ("2001:db8::1", 4501),
        ("192.0.2.2", 4601),
    ]


async def test_a_zone_that_refuses_a_relay_has_none() -> None:
    # RFC 2782: a target of "." says that the service is decidedly not there.
    zone = Zone(f"_autotunnel-relay._tcp.{ZONE}. 60 IN SRV 0 0 0 .")
    assert await relay_discovery.async_find(zone, dns.name.from_text(ZONE)) == []


async def test_when_the_zone_is_served_again_nobody_waits_for_the_next_attempt(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_SOON", (60.0, 1.0, 60.0))
    monkeypatch.setattr(rendezvous, "KEPT_S", 0.1)
    imac = await site.host("imac")
    imac.changed.clear()
    await site.async_stop()
    await imac.async_registered()  # which is to say that it is no longer
    imac.changed.clear()
    await site.async_start()
    imac.rendezvous.served()
    await imac.async_registered()
    assert imac.rendezvous.relays == (site.server,)
