# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tunnel is reused, which is made, and what charon is told; charon is played by a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint
from vici.exception import CommandException

from watcher import tunnels as tunnels_module
from watcher.errors import TunnelError
from watcher.tunnels import Peer, Tunnels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.config import Config

OUTER = Endpoint(IPv4Address("203.0.113.101"), 41500)
IMAC = Peer("imac", "imac.bob.members.example", IPv6Address("fd12:3456:789a::2"), OUTER)


def child(**changes: bytes) -> dict[str, Any]:
    return {
        "state": b"INSTALLED",
        "remote-ts": [b"fd12:3456:789a::2/128"],
        "install-time": b"100",
        "use-in": b"1",
        **changes,
    }


class Charon:
    """Keeps loaded connections and established SAs, as vici shows them."""

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}
        self.sas: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.refusing = False
        self.gate: threading.Event | None = None

    def establish(self, name: str, **changes: Any) -> None:
        sa = {
            "state": b"ESTABLISHED",
            **({"initiator": b"yes"} if name.startswith("peer-") else {}),
            "remote-id": b"imac.bob.members.example",
            "remote-host": b"203.0.113.101",
            "remote-port": b"41500",
            "child-sas": {f"{name}-1": child()},
        }
        self.sas.append({name: {**sa, **changes}})

    def list_sas(self) -> Iterator[dict[str, Any]]:
        yield from self.sas

    def load_conn(self, connection: dict[str, Any]) -> None:
        self.calls.append("load")
        self.loaded.update(connection)

    def initiate(self, request: dict[str, str]) -> Iterator[object]:
        self.calls.append("initiate")
        if self.gate:
            self.gate.wait(5)
        if self.refusing:
            raise CommandException("Command failed: establishing CHILD_SA failed")
        self.establish(request["ike"])
        yield {}

    def terminate(self, request: dict[str, str]) -> Iterator[object]:
        self.calls.append(f"terminate {request['timeout']}")
        self.sas = [sa for sa in self.sas if request["ike"] not in sa]
        yield {}


@pytest.fixture
def charon(monkeypatch: pytest.MonkeyPatch) -> Charon:
    charon = Charon()

    @contextlib.contextmanager
    def session(**_: object) -> Iterator[Charon]:
        yield charon

    monkeypatch.setattr(tunnels_module, "_session", session)
    return charon


@pytest.fixture
def tunnels(config: Config, charon: Charon) -> Tunnels:
    config.certificate.write_bytes(b"own certificate")
    config.ca.write_bytes(b"owner CA")
    return Tunnels(config, lambda: None)


async def test_what_charon_is_told(tunnels: Tunnels, charon: Charon) -> None:
    assert await tunnels.async_ensure(IMAC) == "opened"
    (connection,) = charon.loaded.values()
    assert connection["remote_addrs"] == ["203.0.113.101"]
    assert connection["remote_port"] == "41500"
    assert connection["local_port"] == "4500"
    assert connection["local"]["id"] == "macbook.bob.members.example"
    assert connection["remote"] == {"auth": "pubkey", "cacerts": [b"owner CA"], "id": "imac.bob.members.example"}
    child = connection["children"]["peer-imac.bob.members.example"]
    assert (child["local_ts"], child["remote_ts"]) == (["fd12:3456:789a::1/128"], ["fd12:3456:789a::2/128"])


async def test_the_second_time_it_is_there(tunnels: Tunnels, charon: Charon) -> None:
    await tunnels.async_ensure(IMAC)
    assert await tunnels.async_ensure(IMAC) == "found"
    assert charon.calls == ["load", "initiate"]


async def test_one_that_the_peer_opened_is_taken_wherever_it_comes_from(tunnels: Tunnels, charon: Charon) -> None:
    charon.establish("btmm-in", **{"remote-port": b"24629"})
    assert await tunnels.async_ensure(IMAC) == "found"
    assert not charon.calls


async def test_one_that_the_peer_opened_is_not_ours_by_its_name(tunnels: Tunnels, charon: Charon) -> None:
    """After a restart charon still has our connection from before, and takes the peer's call by it."""
    charon.establish("peer-imac.bob.members.example", **{"initiator": b"no", "remote-port": b"28120"})
    assert await tunnels.async_ensure(IMAC) == "found"
    assert not charon.calls


async def test_one_that_the_peer_opened_and_left_idle_is_tried(tunnels: Tunnels, charon: Charon) -> None:
    charon.establish("btmm-in", **{"child-sas": {"x": child(**{"use-in": b"31"})}})
    assert await tunnels.async_ensure(IMAC) == "opened"


async def test_when_the_trial_fails_the_idle_one_is_better_than_none(tunnels: Tunnels, charon: Charon) -> None:
    idle = child()
    del idle["use-in"]
    charon.establish("btmm-in", **{"child-sas": {"x": idle}})
    charon.refusing = True
    assert await tunnels.async_ensure(IMAC) == "found"
    assert await tunnels.async_ensure(Peer("imac", IMAC.identity, IMAC.ula, None)) == "found"


async def test_our_own_idle_one_is_charons_to_check(tunnels: Tunnels, charon: Charon) -> None:
    charon.establish("peer-imac.bob.members.example", **{"child-sas": {"x": child(**{"use-in": b"3000"})}})
    assert await tunnels.async_ensure(IMAC) == "found"


async def test_a_certificate_that_cannot_be_read_is_named(tunnels: Tunnels, charon: Charon, config: Config) -> None:
    config.certificate.unlink()
    with pytest.raises(TunnelError, match=r"host\.pem can't be read"):
        await tunnels.async_ensure(IMAC)
    assert not charon.calls


async def test_a_peer_that_moved_is_called_anew(tunnels: Tunnels, charon: Charon) -> None:
    await tunnels.async_ensure(IMAC)
    moved = Peer("imac", IMAC.identity, IMAC.ula, Endpoint(IPv4Address("203.0.113.102"), 4500))
    assert await tunnels.async_ensure(moved) == "opened"
    assert charon.calls == ["load", "initiate", "terminate -1", "load", "initiate"]


async def test_a_port_that_only_the_peers_nat_changed_is_no_move(tunnels: Tunnels, charon: Charon) -> None:
    await tunnels.async_ensure(IMAC)
    charon.sas.clear()
    charon.establish("peer-imac.bob.members.example", **{"remote-port": b"9"})
    assert await tunnels.async_ensure(IMAC) == "found"


async def test_after_a_restart_what_charon_sees_decides(tunnels: Tunnels, charon: Charon) -> None:
    charon.establish("peer-imac.bob.members.example", **{"remote-host": b"198.51.100.1"})
    assert await tunnels.async_ensure(IMAC) == "opened"


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
async def test_what_does_not_carry_traffic_to_the_peer_does_not_count(
    tunnels: Tunnels, charon: Charon, changes: dict[str, Any]
) -> None:
    charon.establish("btmm-in", **changes)
    assert await tunnels.async_ensure(IMAC) == "opened"


async def test_a_failure_is_told_and_leaves_nothing_trying(tunnels: Tunnels, charon: Charon) -> None:
    charon.refusing = True
    with pytest.raises(TunnelError, match=r"no tunnel to imac\.bob\.members\.example at 203\.0\.113\.101:41500"):
        await tunnels.async_ensure(IMAC)
    assert charon.calls[-1] == "terminate -1"
    charon.refusing = False
    assert await tunnels.async_ensure(IMAC) == "opened"


async def test_a_peer_without_endpoint(tunnels: Tunnels, charon: Charon) -> None:
    silent = Peer("imac", IMAC.identity, IMAC.ula, None)
    with pytest.raises(TunnelError, match="publishes no tunnel endpoint"):
        await tunnels.async_ensure(silent)
    charon.establish("btmm-in")
    assert await tunnels.async_ensure(silent) == "found"


async def test_callers_at_once_share_one_set_up(tunnels: Tunnels, charon: Charon) -> None:
    charon.gate = threading.Event()
    callers = [asyncio.create_task(tunnels.async_ensure(IMAC)) for _ in range(5)]
    await asyncio.sleep(0.05)
    callers[0].cancel()
    charon.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results[1:] == ["opened"] * 4
    assert charon.calls == ["load", "initiate"]


async def test_charon_is_away(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels_module, "VICI_SOCKET", "/nonexistent/charon.vici")
    tunnels = Tunnels(config, lambda: None)
    with pytest.raises(TunnelError, match="charon does not answer at /nonexistent"):
        await tunnels.async_ensure(IMAC)
    assert await tunnels.async_list() == []
