# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS connection against a server on loopback that signs, delays, hangs up and lies."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import ssl
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import lease, update
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.deadpath import dead_path
from watcher import zone_client
from watcher.config import Config, Server
from watcher.errors import ZoneServerError
from watcher.zone_client import ZoneClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "zone.bob.members.example"


def _certificates(directory: Path) -> tuple[Path, Path]:
    """Make a CA (the configuration's `ca`) and a server certificate with its key in one file."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "owner")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip

    def build(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: tuple[x509.ExtensionType, bool]
    ) -> bytes:
        builder = x509.CertificateBuilder(
            issuer, subject, public, x509.random_serial_number(), now, now + dt.timedelta(1)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    subject_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = directory / "ca.pem"
    ca.write_bytes(
        build(
            issuer,
            ca_key.public_key(),
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (usage, True),
            (subject_id, False),
        )
    )
    server = directory / "server.pem"
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    names = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server.write_bytes(build(subject, key.public_key(), (names, False), (authority, False)) + private)
    return ca, server


class DotServer:
    """Answers every question, by `mode`."""

    def __init__(self, config: Config) -> None:
        self.key = config.key
        self.mode = ""
        self.connections = 0
        self.messages = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        held: list[bytes] = []
        try:
            while True:
                wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self.messages += 1
                answer = self._answer(wire)
                if self.mode == "close":
                    break
                if self.mode == "silent":
                    continue
                held.append(len(answer).to_bytes(2, "big") + answer)
                if self.mode == "reorder" and len(held) < 2:
                    continue
                writer.write(b"".join(reversed(held)))
                held.clear()
                if self.mode == "once":
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def _answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire, keyring=self.key)
        if self.mode == "unsigned":
            query = dns.message.from_wire(wire, keyring=False)
            query.tsig = None
            return dns.message.make_response(query).to_wire()
        if self.mode == "noise":
            return wire[:2] + b"\xff" * 20
        answer = dns.message.make_response(query)
        if self.mode == "refused":
            answer.set_rcode(dns.rcode.REFUSED)
        if self.mode == "first without the zone" and self.messages == 1:
            answer.set_rcode(dns.rcode.SERVFAIL)
        if self.mode == "badkey":
            answer.set_rcode(dns.rcode.NOTAUTH)
            answer.use_tsig(self.key, tsig_error=int(dns.rcode.BADKEY))
        rendered = answer.to_wire()
        return rendered[:-10] + b"\0" + rendered[-9:] if self.mode == "forged" else rendered


class Rig:
    def __init__(self, config: Config, server: DotServer) -> None:
        self.config, self.server = config, server
        self.answered: list[int] = []
        self.client = ZoneClient(config, lambda: self.answered.append(1))

    async def ask(self, name: str = "imac.bob.members.example") -> dns.message.Message:
        return await self.client.async_exchange(dns.message.make_query(name, "AAAA"))


@pytest.fixture
async def rig(config: Config, tmp_path: Path) -> AsyncIterator[Rig]:
    ca, pem = _certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    server = DotServer(config)
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    # The first address refuses: the second must be tried, and be tried first from then on.
    addresses = ("127.0.0.2", "127.0.0.1")
    rig = Rig(dataclasses.replace(config, ca=ca, server=Server(NAME, addresses, port)), server)
    yield rig
    rig.client.drop()
    listening.close()
    await asyncio.sleep(0)


async def test_one_connection_serves_all_and_answers_may_cross(rig: Rig) -> None:
    rig.server.mode = "reorder"
    answers = await asyncio.gather(rig.ask("a.bob.members.example"), rig.ask("b.bob.members.example"))
    assert [str(answer.question[0].name)[0] for answer in answers] == ["a", "b"]
    rig.server.mode = ""
    await rig.ask()
    assert rig.server.connections == 1


async def test_an_update_is_not_bound_by_what_fits_a_datagram(rig: Rig) -> None:
    """EDNS, which carries the lease, tells of 1,232 octets, and dnspython takes that for the limit of the question."""
    message = dns.update.UpdateMessage("bob.members.example")
    message.add("imac", 120, "TXT", " ".join(['"' + "x" * 250 + '"'] * 8))
    lease.ask(message, lease.Lease(7200))
    answer = await rig.client.async_exchange(message)
    assert answer.rcode() == dns.rcode.NOERROR
    assert rig.answered == [1]


async def test_a_connection_that_the_server_closed_is_made_again(rig: Rig) -> None:
    rig.server.mode = "once"
    await rig.ask()
    await rig.ask()
    assert rig.server.connections == 2


async def test_a_server_that_always_closes_is_told(rig: Rig) -> None:
    rig.server.mode = "close"
    with pytest.raises(ZoneServerError, match="closes the connection"):
        await rig.ask()


async def test_an_idle_connection_is_closed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_client, "IDLE_S", 0.02)
    await rig.ask()
    await asyncio.sleep(0.1)
    await rig.ask()
    assert rig.server.connections == 2


async def test_silence_is_told_and_the_connection_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_client, "TIMEOUT_S", 0.2)
    rig.server.mode = "silent"
    with pytest.raises(ZoneServerError, match="does not answer"):
        await rig.ask()
    rig.server.mode = ""
    await rig.ask()
    assert rig.server.connections == 2


async def test_connections_over_a_dead_path_are_given_up_without_a_farewell(rig: Rig) -> None:
    server = rig.config.server
    async with dead_path(server.port) as path:
        rig.client = ZoneClient(dataclasses.replace(rig.config, server=Server(server.name, ("127.0.0.1",), path.port)))
        await rig.ask()
        await path.async_die()
        rig.client.drop()
        async with asyncio.timeout(3.0):
            await path.async_left()


async def test_another_servers_certificate_is_not_trusted(rig: Rig) -> None:
    server = dataclasses.replace(rig.config.server, name="other.example", addresses=("127.0.0.1",))
    rig.client = ZoneClient(dataclasses.replace(rig.config, server=server))
    with pytest.raises(ZoneServerError, match="not trusted: Hostname mismatch"):
        await rig.ask()
    assert rig.server.messages == 0


async def test_an_unreachable_server_is_asked_once_for_many(rig: Rig) -> None:
    server = dataclasses.replace(rig.config.server, addresses=("127.0.0.2", "127.0.0.3"))
    rig.client = ZoneClient(dataclasses.replace(rig.config, server=server))
    for _ in range(3):
        with pytest.raises(ZoneServerError, match=r"127\.0\.0\.2, 127\.0\.0\.3 port \d+\) can't be reached"):
            await rig.ask()


async def test_questions_go_to_a_secondary_while_the_primary_is_away(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    away = dataclasses.replace(rig.config.server, addresses=("127.0.0.2",))
    wrong = dataclasses.replace(rig.config.server, name="other.example", addresses=("127.0.0.1",))
    config = dataclasses.replace(rig.config, server=away, secondaries=(wrong, rig.config.server))
    rig.client = ZoneClient(config)
    await rig.ask()
    await rig.ask()
    assert rig.server.connections == 1
    with pytest.raises(ZoneServerError, match=r"\(127\.0\.0\.2 port \d+\) can't be reached"):
        await rig.client.async_exchange(dns.update.UpdateMessage(rig.config.zone))
    assert rig.server.messages == 2
    monkeypatch.setattr(zone_client, "FAILURE_LASTS_S", 0.0)
    rig.server.mode = "refused"
    with pytest.raises(ZoneServerError, match="can't be reached"):
        await rig.ask()


async def test_what_the_primary_says_counts_and_it_is_asked_again_when_it_is_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = dataclasses.replace(rig.config.server, addresses=("127.0.0.2",))
    monkeypatch.setattr(zone_client, "PRIMARY_AGAIN_S", 0.0)
    rig.client = ZoneClient(dataclasses.replace(rig.config, secondaries=(away,)))
    rig.server.mode = "refused"
    with pytest.raises(update.UpdateRefused):
        await rig.ask()
    rig.client = ZoneClient(dataclasses.replace(rig.config, server=away, secondaries=(rig.config.server,)))
    rig.server.mode = ""
    await rig.ask()
    assert rig.client._best == 1
    rig.client._channels[0] = rig.client._channels[1]
    await rig.ask()
    assert rig.client._best == 0


async def test_a_primary_without_the_zone_leaves_the_question_to_a_secondary(rig: Rig) -> None:
    rig.client = ZoneClient(dataclasses.replace(rig.config, secondaries=(rig.config.server,)))
    rig.server.mode = "first without the zone"
    await rig.ask()
    assert rig.server.messages == 2


async def test_a_missing_ca_is_told(rig: Rig, tmp_path: Path) -> None:
    rig.client = ZoneClient(dataclasses.replace(rig.config, ca=tmp_path / "none.pem"))
    with pytest.raises(ZoneServerError, match=r"none\.pem can't be read"):
        await rig.ask()


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("refused", update.UpdateRefused),
        ("badkey", update.BadKey),
        ("unsigned", update.BadAnswer),
        ("noise", update.BadAnswer),
        ("forged", update.UpdateError),
    ],
)
async def test_bad_answers_are_typed(rig: Rig, mode: str, error: type[Exception]) -> None:
    rig.server.mode = mode
    with pytest.raises(error):
        await rig.ask()
    rig.server.mode = ""
    await rig.ask()
