# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows with real sockets on loopback: who gets what, who can take an end over, and what is bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import token_datagram

from relay import flows as flows_module
from relay.errors import RelayError
from relay.flows import End, Flow, FlowTable
from relay.limits import Limits
from tests.unit.relay.samples import ESP, IKE

Make = Callable[[], socket.socket]


class Table:
    """A table, and what it told."""

    def __init__(self, ports: range, limits: Limits) -> None:
        self.opened: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.flows = FlowTable(ports, limits, self._opened, lambda flow: self.ended.put_nowait(flow.name))

    def _opened(self, flow: Flow, end: End) -> None:
        self.opened.put_nowait((flow.name, end.label))


@pytest_asyncio.fixture
async def table(ports: range) -> AsyncIterator[Table]:
    made = Table(ports, Limits(flows_per_host=2))
    yield made
    made.flows.close()


async def heard(sock: socket.socket) -> bytes:
    async with asyncio.timeout(2):
        return await asyncio.get_running_loop().sock_recv(sock, 65535)


async def silent(sock: socket.socket) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await asyncio.get_running_loop().sock_recv(sock, 65535)
    except TimeoutError:
        return True
    return False


async def opened(table: Table, flow: Flow, label: str, sock: socket.socket) -> tuple[str, int]:
    """Open an end by its token; return where it sends to."""
    end = flow.ends[label]
    to = ("127.0.0.1", end.port)
    sock.sendto(token_datagram(end.renew_token()), to)
    async with asyncio.timeout(2):
        assert await table.opened.get() == (flow.name, label)
    return to


async def both(table: Table, udp: Make) -> tuple[Flow, socket.socket, tuple[str, int], socket.socket, tuple[str, int]]:
    flow = table.flows.obtain("imac", "mini")
    imac, mini = udp(), udp()
    return flow, imac, await opened(table, flow, "imac", imac), mini, await opened(table, flow, "mini", mini)


@pytest.mark.parametrize("octets", [IKE, ESP, b"\xff", ESP + bytes(60_000)], ids=["ike", "esp", "keepalive", "large"])
async def test_datagrams_are_forwarded_octet_for_octet(table: Table, udp: Make, octets: bytes) -> None:
    _, imac, to_relay, mini, other_to_relay = await both(table, udp)
    imac.sendto(octets, to_relay)
    assert await heard(mini) == octets
    mini.sendto(octets, other_to_relay)
    assert await heard(imac) == octets


async def test_nothing_else_is_forwarded(table: Table, udp: Make) -> None:
    _, imac, to_relay, mini, _ = await both(table, udp)
    for octets in (b"", b"hello", IKE[:-1], b"\xff\xff", token_datagram("00" * 16)):
        imac.sendto(octets, to_relay)
    assert await silent(mini)


async def test_nothing_goes_to_an_end_that_did_not_send(table: Table, udp: Make) -> None:
    flow = table.flows.obtain("imac", "mini")
    imac, stranger = udp(), udp()
    to = await opened(table, flow, "imac", imac)
    imac.sendto(IKE, to)
    # An IKE message fixes no end: only the token does.
    stranger.sendto(IKE, ("127.0.0.1", flow.ends["mini"].port))
    assert await silent(stranger)
    assert await silent(imac)


async def test_a_wrong_token_opens_nothing(table: Table, udp: Make) -> None:
    flow = table.flows.obtain("imac", "mini")
    flow.ends["imac"].renew_token()
    stranger = udp()
    for token in ("00" * 16, flow.ends["mini"].renew_token()):
        stranger.sendto(token_datagram(token), ("127.0.0.1", flow.ends["imac"].port))
    await asyncio.sleep(0.05)
    assert table.opened.empty()
    assert flow.ends["imac"].address is None


async def test_a_stranger_does_not_cut_a_flow(table: Table, udp: Make) -> None:
    flow, imac, to_relay, mini, other_to_relay = await both(table, udp)
    imac.sendto(ESP, to_relay)
    assert await heard(mini) == ESP
    stranger = udp()
    guessed = b"\x12\x34\x56\x78" + ESP[4:]
    flow.ends["imac"].heard_at -= 10  # imac is silent, too
    for octets in (guessed, IKE, b"\xff"):
        stranger.sendto(octets, to_relay)
    assert await silent(mini)
    mini.sendto(ESP, other_to_relay)
    assert await heard(imac) == ESP


async def test_who_knows_the_association_does_not_cut_a_flow_in_use(table: Table, udp: Make) -> None:
    _, imac, to_relay, mini, other_to_relay = await both(table, udp)
    imac.sendto(ESP, to_relay)
    assert await heard(mini) == ESP
    udp().sendto(ESP, to_relay)
    assert await silent(mini)
    mini.sendto(ESP, other_to_relay)
    assert await heard(imac) == ESP


async def test_an_end_whose_nat_forgot_it_is_followed_after_silence(table: Table, udp: Make) -> None:
    flow, imac, to_relay, mini, other_to_relay = await both(table, udp)
    imac.sendto(ESP, to_relay)
    assert await heard(mini) == ESP
    flow.ends["imac"].heard_at -= flows_module.SILENT_S
    moved = udp()
    moved.sendto(ESP, to_relay)
    assert await heard(mini) == ESP
    mini.sendto(ESP, other_to_relay)
    assert await heard(moved) == ESP
    assert await silent(imac)


async def test_a_new_token_moves_an_end_at_once(table: Table, udp: Make) -> None:
    flow, imac, _, mini, other_to_relay = await both(table, udp)
    moved = udp()
    await opened(table, flow, "imac", moved)
    mini.sendto(ESP, other_to_relay)
    assert await heard(moved) == ESP
    assert await silent(imac)


async def test_two_hosts_have_one_flow(table: Table) -> None:
    assert table.flows.obtain("imac", "mini") is table.flows.obtain("mini", "imac")
    assert len(table.flows) == 1


async def test_flows_of_a_host_are_bounded_and_ports_come_back(table: Table) -> None:
    table.flows.obtain("imac", "a")
    table.flows.obtain("imac", "b")
    with pytest.raises(RelayError, match="imac has 2 relayed tunnels"):
        table.flows.obtain("imac", "c")
    with pytest.raises(RelayError, match="imac has 2"):
        table.flows.obtain("c", "imac")
    assert len(table.flows) == 2


async def test_ports_run_out_in_a_sentence(udp: Make, ports: range) -> None:
    made = Table(ports[:3], Limits())
    try:
        made.flows.obtain("imac", "mini")
        with pytest.raises(RelayError, match="no free port"):
            made.flows.obtain("imac", "macbook")
        assert len(made.flows) == 1
    finally:
        made.flows.close()


async def test_an_idle_flow_ends(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows_module, "_LOOK_S", 0.02)
    flow = table.flows.obtain("imac", "mini")
    other = table.flows.obtain("imac", "macbook")
    table.flows._sweep()
    assert table.ended.empty()
    flow.heard_at -= flows_module.IDLE_S + 1
    async with asyncio.timeout(2):
        assert await table.ended.get() == flow.name
    assert table.ended.empty()
    assert table.flows.get(other.name) is other
    assert table.flows.get(flow.name) is None


async def test_a_flow_is_resumed_after_a_restart_whoever_comes_first(ports: range, udp: Make) -> None:
    first = Table(ports, Limits())
    flow, imac, to_relay, mini, other_to_relay = await both(first, udp)
    first.flows.close()
    second = Table(ports, Limits())
    try:
        for label, peer in (("mini", "imac"), ("imac", "mini")):
            resumed = second.flows.resume(flow.name, label, peer, flow.ends[label].port)
        assert {label: end.port for label, end in resumed.ends.items()} == {
            "imac": to_relay[1],
            "mini": other_to_relay[1],
        }
        await opened(second, resumed, "imac", imac)
        await opened(second, resumed, "mini", mini)
        imac.sendto(ESP, to_relay)
        assert await heard(mini) == ESP
    finally:
        second.flows.close()


async def test_a_flow_of_others_is_not_resumed(table: Table) -> None:
    flow = table.flows.obtain("imac", "mini")
    port = flow.ends["imac"].port
    for label, peer, wanted in (("macbook", "mini", port), ("imac", "macbook", port)):
        with pytest.raises(RelayError, match="not of"):
            table.flows.resume(flow.name, label, peer, wanted)
    with pytest.raises(RelayError, match="another flow"):
        table.flows.resume("ab" * 16, "imac", "mini", port)
    with pytest.raises(RelayError, match="not free"):
        table.flows.resume("ab" * 16, "macbook", "mini", port)


async def test_bandwidth_is_bounded(udp: Make, ports: range) -> None:
    made = Table(ports, Limits(bytes_per_s=1000))
    try:
        _, imac, to_relay, mini, _ = await both(made, udp)
        large = ESP + bytes(40_000)
        for _ in range(3):
            imac.sendto(large, to_relay)
        assert await heard(mini) == large  # the burst
        assert await silent(mini)
    finally:
        made.flows.close()
