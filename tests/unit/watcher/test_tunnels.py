# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tunnel is reused, which is made by which way, and what charon is told; charon is played by a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Server
from vici.exception import CommandException

from watcher import charon as charon_module
from watcher import probe
from watcher.charon_events import Events
from watcher.errors import TunnelError
from watcher.peers import Locator, Peer, Vantage, Way
from watcher.tunnels import Tunnels
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.message import Message

    from watcher.config import Config

OUTER = Endpoint(IPv4Address("203.0.113.101"), 41500)
ELSEWHERE = Endpoint(IPv4Address("203.0.113.102"), 4500)
LAN = Endpoint(IPv4Address("192.168.20.9"), 4500)
NAME = "peer-imac.bob.members.example"


def imac(*ways: Way) -> Peer:
    return Peer("imac", "imac.bob.members.example", IPv6Address("fd12:3456:789a::2"), ways)


DIRECT = Way("direct", OUTER)
IMAC = imac(DIRECT)
NOWHERE = imac()


def child(**changes: bytes) -> dict[str, Any]:
    return {"state": b"INSTALLED", "remote-ts": [b"fd12:3456:789a::2/128"], "use-in": b"1", "use-out": b"1", **changes}


IDLE = {"child-sas": {"x": child(**{"use-in": b"31"})}}
ANCHORS = [f"-----BEGIN CERTIFICATE-----\n{each}\n-----END CERTIFICATE-----\n".encode() for each in ("old", "new")]


class Charon:
    """Keeps loaded connections and established SAs, as vici shows them."""

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}
        self.unloaded: dict[str, Any] = {}
        self.sas: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.deaf: set[str] = set()
        self.gate: threading.Event | None = None
        self.number = 0
        self.algorithms = {"ke": {"CURVE_25519": b"openssl"}, "rng": {"RNG_STRONG": b"openssl"}}

    def get_algorithms(self) -> dict[str, Any]:
        return self.algorithms

    def establish(self, name: str, **changes: Any) -> None:
        self.number += 1
        sa = {
            "uniqueid": str(self.number).encode(),
            "state": b"ESTABLISHED",
            **({"initiator": b"yes"} if name.startswith("peer-") else {}),
            "remote-id": b"imac.bob.members.example",
            "remote-host": b"203.0.113.101",
            "remote-port": b"41500",
            "established": b"100",
            "child-sas": {f"{name}-1": child()},
        }
        self.sas.append({name: {**sa, **changes}})

    def list_sas(self, _: object = None) -> Iterator[dict[str, Any]]:
        yield from self.sas

    def load_conn(self, connection: dict[str, Any]) -> None:
        self.loaded.update(connection)

    def unload_conn(self, request: dict[str, str]) -> None:
        self.unloaded[request["name"]] = self.loaded.pop(request["name"])

    def initiate(self, request: dict[str, str]) -> Iterator[object]:
        address = self.loaded[request["ike"]]["remote_addrs"][0]
        self.calls.append(f"call {address} {request['timeout']}")
        if self.gate:
            self.gate.wait(5)
        if address in self.deaf:
            self.establish(request["ike"], state=b"CONNECTING")
            raise CommandException("Command failed: establishing CHILD_SA failed")
        self.establish(request["ike"], **{"remote-host": address.encode()})
        yield {}

    def terminate(self, request: dict[str, str]) -> Iterator[object]:
        self.calls.append(f"end {request['ike-id']}")
        gone = request["ike-id"].encode()
        self.sas = [sa for sa in self.sas if next(iter(sa.values()))["uniqueid"] != gone]
        yield {}

    @property
    def numbers(self) -> list[int]:
        return [int(next(iter(sa.values()))["uniqueid"]) for sa in self.sas]


class Zone:
    """Says where imac is."""

    def __init__(self) -> None:
        self.outer = OUTER
        self.asked = 0

    async def async_exchange(self, message: Message) -> Message:
        self.asked += 1
        question = message.question[0]
        answer = dns.message.make_response(message)
        texts = {
            ("_autotunnel._udp.imac.bob.members.example.", "SRV"): f"10 0 {self.outer.port} t.bob.members.example.",
            ("t.bob.members.example.", "A"): str(self.outer.address),
        }
        kind = dns.rdatatype.to_text(question.rdtype)
        if text := texts.get((str(question.name), kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 120, "IN", kind, text))
        return answer


class Rig:
    def __init__(self, config: Config, charon: Charon) -> None:
        self.charon = charon
        self.zone = Zone()
        self.alive = False
        self.vantage = Vantage(Uplink(IPv4Address("192.168.20.10"), IPv4Address("192.168.20.1")))
        self.locator = Locator(config, self.zone, lambda: self.vantage)
        self.tunnels = Tunnels(config, self.locator, lambda: None)


@pytest.fixture
def charon(monkeypatch: pytest.MonkeyPatch) -> Charon:
    charon = Charon()

    @contextlib.contextmanager
    def session(*_: object, **__: object) -> Iterator[Charon]:
        yield charon

    monkeypatch.setattr(charon_module, "session", session)
    return charon


@pytest.fixture
async def rig(config: Config, charon: Charon, monkeypatch: pytest.MonkeyPatch) -> Rig:
    config.certificate.write_bytes(b"own certificate")
    config.ca.write_bytes(b"".join(ANCHORS))
    rig = Rig(config, charon)

    async def async_alive(*_: object) -> bool:
        return rig.alive

    monkeypatch.setattr(probe, "async_alive", async_alive)
    return rig


async def _async_until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_what_charon_is_told(rig: Rig) -> None:
    assert await rig.tunnels.async_ensure(IMAC) == "opened"
    connection = rig.charon.unloaded[NAME]
    assert connection["unique"] == "never"
    assert connection["remote_addrs"] == ["203.0.113.101"]
    assert connection["remote_port"] == "41500"
    assert connection["local_port"] == "4500"
    assert connection["local"]["id"] == "macbook.bob.members.example"
    assert connection["remote"] == {
        "auth": "pubkey", "cacerts": ANCHORS, "revocation": "strict", "id": "imac.bob.members.example",
    }  # fmt: skip
    selectors = connection["children"][NAME]
    assert (selectors["local_ts"], selectors["remote_ts"]) == (["fd12:3456:789a::1/128"], ["fd12:3456:789a::2/128"])


async def test_charon_is_told_of_ml_kem_if_it_has_it(rig: Rig) -> None:
    await rig.tunnels.async_ensure(IMAC)
    before = rig.charon.unloaded[NAME]["proposals"]
    rig.charon.algorithms["ke"]["ML_KEM_768"] = b"openssl"  # started anew, from another package
    rig.charon.sas.clear()
    await rig.tunnels.async_ensure(IMAC)
    assert rig.charon.unloaded[NAME]["proposals"] == ["aes256gcm16-prfsha384-x25519-ke1_mlkem768", *before]


@pytest.mark.parametrize(
    ("said", "key_exchange", "post_quantum"),
    [
        ({"dh-group": b"CURVE_25519", "ake1": b"ML_KEM_768"}, "x25519 + ML-KEM-768", True),
        ({"dh-group": b"CURVE_25519"}, "x25519", False),
        ({"dh-group": b"ECP_256", "ake1": b"ECP_384"}, "ecp256 + ecp384", False),
        ({}, "", False),
    ],
)
async def test_what_went_into_the_keys(rig: Rig, said: Any, key_exchange: str, post_quantum: bool) -> None:
    rig.charon.establish("btmm-in", **said)
    (tunnel,) = await rig.tunnels.async_list()
    assert (tunnel.key_exchange, tunnel.post_quantum) == (key_exchange, post_quantum)


async def test_a_name_that_is_none_is_told(rig: Rig) -> None:
    with pytest.raises(TunnelError, match="is no name of a host"):
        await rig.tunnels.async_ensure(
            Peer("im ac", "im ac.bob.members.example", IPv6Address("fd12:3456:789a::2"), (DIRECT,))
        )
    assert not rig.charon.calls


async def test_the_second_time_it_is_there(rig: Rig) -> None:
    await rig.tunnels.async_ensure(IMAC)
    assert await rig.tunnels.async_ensure(IMAC) == "found"
    assert rig.charon.calls == ["call 203.0.113.101 4000"]


async def test_one_that_the_peer_opened_is_taken_wherever_it_comes_from(rig: Rig) -> None:
    rig.charon.establish("btmm-in", **{"remote-port": b"24629"})
    assert await rig.tunnels.async_ensure(IMAC) == "found"
    assert not rig.charon.calls


async def test_a_silent_one_is_asked_for_a_sign_of_life(rig: Rig) -> None:
    rig.charon.establish("btmm-in", **IDLE)
    rig.alive = True
    assert await rig.tunnels.async_ensure(IMAC) == "found"
    rig.alive = False
    assert await rig.tunnels.async_ensure(IMAC) == "opened"
    assert rig.charon.calls == ["end 1", "call 203.0.113.101 4000"]


async def test_a_dead_peer_is_told(rig: Rig) -> None:
    rig.charon.establish("btmm-in", **IDLE)
    rig.charon.deaf = {"203.0.113.101"}
    with pytest.raises(TunnelError, match=r"no tunnel to imac\.bob\.members\.example at 203\.0\.113\.101:41500"):
        await rig.tunnels.async_ensure(IMAC)
    assert rig.charon.numbers == []


async def test_a_peer_that_nobody_can_call_is_believed(rig: Rig) -> None:
    with pytest.raises(TunnelError, match="publishes no way"):
        await rig.tunnels.async_ensure(NOWHERE)
    rig.charon.establish("btmm-in", **IDLE)
    assert await rig.tunnels.async_ensure(NOWHERE) == "found"


async def test_ways_are_tried_in_order_and_only_the_last_has_time(rig: Rig) -> None:
    rig.charon.deaf = {"192.168.20.9"}
    assert await rig.tunnels.async_ensure(imac(Way("lan", LAN), DIRECT)) == "opened"
    assert rig.charon.calls == ["call 192.168.20.9 1200", "end 1", "call 203.0.113.101 4000"]
    assert [rig.tunnels.rung(tunnel) for tunnel in await rig.tunnels.async_list()] == ["direct"]
    # What worked last is the first to be tried.
    rig.charon.sas.clear()
    rig.charon.calls.clear()
    await rig.tunnels.async_ensure(imac(Way("lan", LAN), DIRECT))
    assert rig.charon.calls == ["call 203.0.113.101 1200"]


async def test_a_relayed_peer_is_called_where_the_rendezvous_says(rig: Rig, config: Config) -> None:
    server = Server(config.host_name, 4500)

    class Relay:
        async def async_prepare(self, identity: str, way: Way) -> Endpoint:
            assert (identity, way.at) == ("imac.bob.members.example", server)
            return ELSEWHERE

        def rung_of(self, remote: Endpoint) -> str | None:
            return "relayed" if remote == ELSEWHERE else None

    peer = imac(Way("relayed", server))
    with pytest.raises(TunnelError, match="by a relay only"):
        await rig.tunnels.async_ensure(peer)
    relaying = Tunnels(config, rig.locator, lambda: None, Relay())
    assert await relaying.async_ensure(peer) == "opened"
    assert rig.charon.calls == ["call 203.0.113.102 4000"]
    # One that the peer opened by the relay.
    rig.charon.sas.clear()
    rig.charon.establish("btmm-in", **{"remote-host": b"203.0.113.102", "remote-port": b"4500"})
    assert [relaying.rung(tunnel) for tunnel in await relaying.async_list()] == ["relayed"]


async def test_a_tunnel_to_where_a_peer_is_published_needs_no_help_any_more(rig: Rig, config: Config) -> None:
    """It was mediated to the same place before it had a mapping there."""

    class Relay:
        async def async_prepare(self, identity: str, way: Way) -> Endpoint:
            raise AssertionError

        def rung_of(self, remote: Endpoint) -> str | None:
            return "mediated"

    told: list[int] = []
    tunnels = Tunnels(config, rig.locator, lambda: told.append(1), Relay())
    rig.charon.establish("btmm-in")
    (tunnel,) = await tunnels.async_list()
    assert tunnels.rung(tunnel) == "mediated"
    await rig.locator.async_locate("imac")
    assert (tunnels.rung(tunnel), told) == ("direct", [])
    # charon's news of a tunnel that we make may come before its way is noted.
    rig.charon.sas.clear()
    await tunnels.async_ensure(IMAC)
    assert told == [1]


async def test_after_a_move_every_peer_is_called_whoever_opened_the_tunnel(rig: Rig) -> None:
    await rig.locator.async_locate("imac")
    rig.charon.establish("btmm-in")
    rig.tunnels.moved()
    await _async_until(lambda: rig.charon.numbers == [2])
    assert rig.charon.calls == ["end 1", "call 203.0.113.101 1200"]
    # The peer is told to drop what it has of before.
    assert rig.charon.unloaded[NAME]["unique"] == "no"


async def test_after_a_move_nobody_waits_for_the_call_of_a_peer_that_is_off(rig: Rig) -> None:
    await rig.locator.async_locate("imac")
    rig.charon.establish("btmm-in")
    over, initiate = threading.Event(), rig.charon.initiate

    def initiate_slowly(request: dict[str, str]) -> Iterator[object]:
        if "mini" in request["ike"]:
            over.wait(20)
            raise CommandException("timeout")
        return initiate(request)

    rig.charon.initiate = initiate_slowly  # type: ignore[method-assign]
    off = Peer("mini", "mini.bob.members.example", IPv6Address("fd12:3456:789a::3"), (Way("direct", ELSEWHERE),))
    calling = asyncio.create_task(rig.tunnels.async_ensure(off))
    await asyncio.sleep(0.1)
    rig.tunnels.moved()
    try:
        await _async_until(lambda: rig.charon.numbers == [2])
    finally:
        over.set()
    with pytest.raises(TunnelError):
        await calling


async def test_after_a_move_a_peer_that_moved_too_is_looked_up_again(rig: Rig) -> None:
    await rig.locator.async_locate("imac")
    rig.charon.establish(NAME)
    rig.charon.deaf = {"203.0.113.101"}
    rig.zone.outer = ELSEWHERE
    rig.tunnels.moved()
    await _async_until(lambda: "call 203.0.113.102 1200" in rig.charon.calls)


async def test_a_peer_that_moved_is_left_alone_while_it_answers(rig: Rig) -> None:
    await rig.locator.async_locate("imac")
    rig.charon.establish(NAME)
    rig.alive = True
    rig.tunnels.peer_moved("imac")
    await asyncio.sleep(0.1)
    assert not rig.charon.calls
    rig.alive = False
    rig.tunnels.peer_moved("imac")
    await _async_until(lambda: rig.charon.numbers == [2])


async def test_a_peer_that_is_back_in_the_zone_is_called_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.tunnels._AGAIN_S", (60, 60))
    await rig.locator.async_locate("imac")
    rig.charon.establish(NAME)
    rig.charon.deaf = {"203.0.113.101"}
    rig.tunnels.moved()
    await _async_until(lambda: "call 203.0.113.101 1200" in rig.charon.calls)
    rig.zone.outer = ELSEWHERE
    await rig.locator.async_locate("imac")
    rig.tunnels.peer_moved("imac")
    await _async_until(lambda: "call 203.0.113.102 1200" in rig.charon.calls)


async def test_a_relayed_peer_that_can_be_called_directly_is_until_it_answers(
    rig: Rig, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel that there is goes on meanwhile; a try that fails is repeated, but not at every look."""

    class Relay:
        def rung_of(self, remote: Endpoint) -> str | None:
            return "relayed" if remote == ELSEWHERE else None

    monkeypatch.setattr(Events, "start", lambda _: None)
    relayed = {"remote-host": b"203.0.113.102", "remote-port": b"4500"}
    rig.charon.establish("btmm-in", **relayed)
    rig.charon.deaf = {"203.0.113.101"}
    rig.alive = True
    await rig.locator.async_locate("imac")
    tunnels = Tunnels(config, rig.locator, lambda: None, Relay())  # type: ignore[arg-type]  # all it is asked for
    tunnels.start()
    await _async_until(lambda: rig.charon.calls == ["call 203.0.113.101 1200", "end 2"])
    assert [tunnels.rung(tunnel) for tunnel in await tunnels.async_list()] == ["relayed"]
    # The zone says that something changed: at once, then.
    tunnels.peer_moved("imac")
    await _async_until(lambda: rig.charon.calls[2:] == ["call 203.0.113.101 1200", "end 3"])
    rig.charon.deaf.clear()
    tunnels.peer_moved("imac")
    await _async_until(lambda: rig.charon.numbers == [4])
    assert [tunnels.rung(tunnel) for tunnel in await tunnels.async_list()] == ["direct"]
    tunnels.stop()


async def test_how_a_tunnel_was_made_is_known_even_if_it_came_while_charon_was_asked(
    rig: Rig, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its rung would be guessed by the address, at which the peer may have been mediated before."""

    class Relay:
        def rung_of(self, remote: Endpoint) -> str | None:
            return "mediated"

    listed, go_on = threading.Event(), threading.Event()

    def list_slowly(_: object = None) -> Iterator[dict[str, Any]]:
        before = list(rig.charon.sas)
        if not listed.is_set():
            listed.set()
            go_on.wait(5)
        yield from before

    tunnels = Tunnels(config, rig.locator, lambda: None, Relay())  # type: ignore[arg-type]  # all it is asked for
    monkeypatch.setattr(Events, "start", lambda _: None)
    monkeypatch.setattr(rig.charon, "list_sas", list_slowly)
    tunnels.start()
    await _async_until(listed.is_set)
    assert await tunnels.async_ensure(IMAC) == "opened"
    go_on.set()
    await asyncio.sleep(0.2)
    assert [tunnels.rung(tunnel) for tunnel in await tunnels.async_list()] == ["direct"]
    tunnels.stop()


@pytest.mark.parametrize(
    ("made", "stays"),
    [
        # By us at 100 s and at 3 s: the newest. Both at once: that of the smaller ULA, which is ours.
        ([(True, 100), (False, 3)], 2),
        ([(True, 4), (False, 3)], 1),
        ([(False, 4), (True, 3)], 2),
        ([(True, 100), (True, 99)], 2),
    ],
)
async def test_of_several_tunnels_one_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, made: list[tuple[bool, int]], stays: int
) -> None:
    for ours, age_s in made:
        rig.charon.establish(NAME if ours else "btmm-in", established=str(age_s).encode())
    monkeypatch.setattr(Events, "start", lambda _: None)
    rig.tunnels.start()
    await _async_until(lambda: len(rig.charon.sas) == 1)
    rig.tunnels.stop()
    assert rig.charon.numbers == [stays]


async def test_traffic_without_an_answer_has_the_peer_called(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.locator.async_locate("imac")
    rig.charon.establish("btmm-in", **{"child-sas": {"x": child(**{"use-in": b"5", "use-out": b"0"})}})
    monkeypatch.setattr(Events, "start", lambda _: None)
    rig.tunnels.start()
    await _async_until(lambda: rig.charon.calls == ["end 1", "call 203.0.113.101 1200"])
    rig.tunnels.stop()


async def test_a_connection_that_charon_does_not_take_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise CommandException("Command failed: invalid value for: proposals")

    monkeypatch.setattr(rig.charon, "load_conn", refuse)
    monkeypatch.setattr(rig.charon, "unload_conn", refuse)
    with pytest.raises(TunnelError, match=r"no tunnel to imac.*invalid value for: proposals.*journalctl"):
        await rig.tunnels.async_ensure(IMAC)


async def test_a_certificate_that_cannot_be_read_is_named(rig: Rig, config: Config) -> None:
    config.certificate.unlink()
    with pytest.raises(TunnelError, match=r"host\.pem can't be read"):
        await rig.tunnels.async_ensure(IMAC)
    assert not rig.charon.calls


@pytest.mark.parametrize(
    "changes",
    [
        {"state": b"CONNECTING"},
        {"remote-id": b"mini.bob.members.example"},
        {"child-sas": {}},
        {"child-sas": {"x": {**child(), "remote-ts": [b"fd12:3456:789a::3/128"]}}},
        {"child-sas": {"x": child(state=b"REKEYED")}},
    ],
)
async def test_what_does_not_carry_traffic_to_the_peer_does_not_count(rig: Rig, changes: dict[str, Any]) -> None:
    rig.charon.establish("btmm-in", **changes)
    assert await rig.tunnels.async_ensure(IMAC) == "opened"


async def test_tunnels_of_other_zones_and_programs_are_not_ours(rig: Rig) -> None:
    for selector in (b"fd99::2/128", b"10.0.0.0/8", b"0.0.0.0/0"):
        rig.charon.establish("other", **{"child-sas": {"x": {**child(), "remote-ts": [selector]}}})
    assert await rig.tunnels.async_list() == []


async def test_callers_at_once_share_one_set_up(rig: Rig) -> None:
    rig.charon.gate = threading.Event()
    callers = [asyncio.create_task(rig.tunnels.async_ensure(IMAC)) for _ in range(5)]
    await asyncio.sleep(0.05)
    callers[0].cancel()
    rig.charon.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results[1:] == ["opened"] * 4
    assert len(rig.charon.calls) == 1


async def test_charon_is_away(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charon_module, "SOCKET", "/nonexistent/charon.vici")
    away = Tunnels(config, Locator(config, Zone()), lambda: None)
    with pytest.raises(TunnelError, match="charon does not answer at /nonexistent"):
        await away.async_ensure(IMAC)
    assert await away.async_list() == []
