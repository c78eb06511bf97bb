# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may know which zones, over real TLS: two owners on one host, hosts that left, clients that are nobody."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.bind import Entry, keys_conf
from ansible_collections.btmm.fleet.plugins.module_utils.names import parse_zone

from notifier.access import Access, Client, Domain
from notifier.errors import ConfigError
from tests.certificates import Certificate, Owner

ADDRESS = "127.0.0.1"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def write_keys(domain: Domain, *labels: str) -> None:
    entries = {label: Entry(SECRET, ()) for label in labels}
    (domain.directory / "keys.conf").write_text(keys_conf(domain.zone, entries))


def domain_of(owner: Owner, number: int, *labels: str) -> Domain:
    folder = owner.directory / f"credentials-{owner.zone}"
    folder.mkdir()
    server = owner.server()
    for source, name in (
        (server.certificate, "cert.pem"),
        (server.key, "key.pem"),
        (server.ca, "ca.pem"),
        (server.crl, "crl.pem"),
    ):
        shutil.copy(source, folder / name)
    reverse = dns.name.from_text(f"{number}.d.f.ip6.arpa.")
    domain = Domain(parse_zone(owner.zone), reverse, f"zone.{owner.zone}", folder)
    write_keys(domain, *labels)
    return domain


@dataclass
class Place:
    owners: dict[str, Owner]
    domains: dict[str, Domain]
    access: Access = field(default_factory=Access)

    def update(self) -> None:
        self.access.update(list(self.domains.values()))

    def zones(self, *owners: str) -> frozenset[dns.name.Name]:
        return frozenset(zone for owner in owners for zone in self.domains[owner].zones)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    owners = {name: Owner(tmp_path, f"{name}.members.example") for name in ("bob", "eve")}
    domains = {name: domain_of(owner, number, "imac", "old") for number, (name, owner) in enumerate(owners.items())}
    place = Place(owners, domains)
    place.update()
    return place


@contextlib.asynccontextmanager
async def serving(access: Access) -> AsyncIterator[tuple[int, asyncio.Queue[Client | None]]]:
    clients: asyncio.Queue[Client | None] = asyncio.Queue()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.put_nowait(access.identify(writer.get_extra_info("ssl_object")))
        writer.write(b"seen")

    server = await asyncio.start_server(connected, ADDRESS, 0, ssl=access.context)
    try:
        yield server.sockets[0].getsockname()[1], clients
    finally:
        server.close()


async def async_call(port: int, owner: Owner, own: Certificate | None, server_name: str | None = None) -> None:
    """Connect as a host does, and read, since a server's refusal comes after the client's handshake (TLS 1.3)."""
    context = ssl.create_default_context(cafile=str(owner.ca))
    context.set_alpn_protocols(["dot"])
    if own:
        context.load_cert_chain(own.certificate, own.key)
    reader, writer = await asyncio.open_connection(
        ADDRESS, port, ssl=context, server_hostname=server_name or f"zone.{owner.zone}"
    )
    with contextlib.closing(writer):
        assert await reader.readexactly(4) == b"seen"


async def test_a_host_opens_its_owners_zones_and_no_others(place: Place) -> None:
    async with serving(place.access) as (port, clients):
        for name, owner in place.owners.items():
            await async_call(port, owner, owner.host())
            client = await clients.get()
            assert str(client) == f"imac.{name}.members.example"
            assert place.access.opens(client) == place.zones(name)


async def test_a_revoked_certificate_is_refused_after_the_next_look(place: Place) -> None:
    bob = place.owners["bob"]
    good, revoked = bob.host("imac"), bob.host("old", 2)
    async with serving(place.access) as (port, clients):
        for own in (good, revoked):
            await async_call(port, bob, own)
            await clients.get()
        bob.revoke(revoked)
        shutil.copy(bob.crl, place.domains["bob"].directory / "crl.pem")
        place.update()
        await async_call(port, bob, good)
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await async_call(port, bob, revoked)


async def test_who_shows_another_owners_certificate_is_not_let_in(place: Place) -> None:
    bob, eve = place.owners["bob"], place.owners["eve"]
    async with serving(place.access) as (port, clients):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await async_call(port, bob, eve.host())
        assert clients.empty()


async def test_who_shows_no_certificate_is_nobody_and_opens_nothing(place: Place) -> None:
    async with serving(place.access) as (port, clients):
        await async_call(port, place.owners["bob"], None)
        client = await clients.get()
        assert client is None
        assert place.access.opens(client) == frozenset()


async def test_a_host_that_left_is_locked_out_though_its_certificate_is_good(place: Place) -> None:
    owner = place.owners["bob"]
    async with serving(place.access) as (port, clients):
        await async_call(port, owner, owner.host("old"))
        client = await clients.get()
        assert place.access.opens(client)
        write_keys(place.domains["bob"], "imac")
        place.update()
        assert place.access.opens(client) == frozenset()
        await async_call(port, owner, owner.host("old"))
        assert place.access.opens(await clients.get()) == frozenset()


async def test_a_renewed_certificate_is_shown_to_who_comes_next(place: Place) -> None:
    owner, domain = place.owners["bob"], place.domains["bob"]
    async with serving(place.access) as (port, clients):
        renewed = owner.server("other")
        shutil.copy(renewed.certificate, domain.directory / "cert.pem")
        shutil.copy(renewed.key, domain.directory / "key.pem")
        place.update()
        with pytest.raises(ssl.SSLCertVerificationError):
            await async_call(port, owner, owner.host())
        await async_call(port, owner, owner.host(), "other.bob.members.example")
        # A name that is nobody's leads to the first zone.
        assert str(await clients.get()) == "imac.bob.members.example"


async def test_public_zones_are_open_to_everybody(place: Place) -> None:
    place.domains["bob"] = replace(place.domains["bob"], public=True)
    place.update()
    async with serving(place.access) as (port, clients):
        await async_call(port, place.owners["bob"], None)
        assert await clients.get() is None
        assert place.access.opens(None) == place.zones("bob")
        # The other owner's are not, though a client without a certificate gets as far as being told so.
        await async_call(port, place.owners["eve"], None)
        assert await clients.get() is None
        await async_call(port, place.owners["eve"], place.owners["eve"].host())
        assert place.access.opens(await clients.get()) == place.zones("bob", "eve")


def test_keys_open_the_zones_of_their_owner(place: Place) -> None:
    keys = [name for domain in place.domains.values() for name in list(domain.keys())]
    names = {str(name): place.access.identify_key(name) for name in keys}
    assert {name: str(client) for name, client in names.items()} == {
        f"{label}.{owner}.members.example.": f"{label}.{owner}.members.example"
        for owner in ("bob", "eve")
        for label in ("imac", "old")
    }
    assert place.access.opens(names["imac.bob.members.example."]) == place.zones("bob")
    assert place.access.identify_key(dns.name.from_text("mini.bob.members.example.")) is None
    assert place.access.opens(None) == frozenset()


def test_a_replaced_key_is_the_same_hosts(place: Place) -> None:
    domain = place.domains["bob"]
    entries = {"imac": Entry(SECRET, (), generation=2, old=((10, SECRET), (0, SECRET)))}
    (domain.directory / "keys.conf").write_text(keys_conf(domain.zone, entries))
    place.update()
    for name in ("imac", "g2.imac", "g10.imac"):
        assert str(place.access.identify_key(dns.name.from_text(name, domain.zone))) == "imac.bob.members.example"
    newest = [str(key.name).partition(".")[0] for key in domain.keys_of("imac")]
    assert newest == ["g10", "g2", "imac"]


def test_who_came_by_a_replaced_key_may_stay_until_that_one_goes(place: Place) -> None:
    domain = place.domains["bob"]
    first = place.access.identify_key(dns.name.from_text("imac.bob.members.example."))
    by_certificate = Client(domain.zone, b"imac")
    for old, opens in (((0, SECRET),), place.zones("bob")), ((), frozenset()):
        entries = {"imac": Entry(SECRET, (), generation=1, old=old)}
        (domain.directory / "keys.conf").write_text(keys_conf(domain.zone, entries))
        place.update()
        assert place.access.opens(first) == opens
        assert place.access.opens(by_certificate) == place.zones("bob")
    assert first == by_certificate  # so that its sessions are counted together


@pytest.mark.parametrize("name", ["keys.conf", "cert.pem", "key.pem", "ca.pem", "crl.pem"])
@pytest.mark.parametrize("content", [None, "nonsense\n", b"\xff\xfe"])
def test_what_cannot_be_read_is_one_sentence_and_changes_nothing(
    place: Place, name: str, content: str | bytes | None
) -> None:
    client = place.access.identify_key(dns.name.from_text("imac.bob.members.example."))
    path = place.domains["bob"].directory / name
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None and name != "keys.conf":
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"can't be read .*: run the role notifier"):
        place.update()
    assert place.access.opens(client) == place.zones("bob")
