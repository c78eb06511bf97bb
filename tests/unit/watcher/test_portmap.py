# SPDX-License-Identifier: GPL-3.0-or-later
"""Mapping against a gateway on loopback that speaks NAT-PMP, badly when told to."""

from __future__ import annotations

import asyncio
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import natpmp
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from watcher import state
from watcher.errors import PortMapError
from watcher.portmap import PortMapper
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Gateway(asyncio.DatagramProtocol):
    """Grants what is asked, unless told otherwise."""

    def __init__(self) -> None:
        self.outer = "203.0.113.101"
        self.result = 0
        self.lifetime: int | None = None
        self.port: int | None = None
        self.drop = 0
        self.noise = b""
        self.requests: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(data)
        if self.drop:
            self.drop -= 1
            return
        if self.noise:
            self.transport.sendto(self.noise, addr)
        if data[1] == 0:
            reply = struct.pack("!BBHL", 0, 128, 0, 7) + IPv4Address(self.outer).packed
        else:
            _, _, _, internal, suggested, lifetime = struct.unpack("!BBHHHL", data)
            granted = lifetime if self.lifetime is None else self.lifetime
            port = self.port or suggested
            reply = struct.pack("!BBHLHHL", 0, 129, self.result, 7, internal, port, granted)
        self.transport.sendto(reply, addr)


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Gateway, local_addr=("127.0.0.1", 0)
    )
    monkeypatch.setattr(natpmp, "SERVER_PORT", transport.get_extra_info("sockname")[1])
    monkeypatch.setattr(natpmp, "FIRST_RETRY_S", 0.02)
    yield protocol
    transport.close()


LINK = Uplink(IPv4Address("127.0.0.1"), IPv4Address("127.0.0.1"))


async def test_a_public_host_needs_no_mapping(tmp_path: Path) -> None:
    mapping = await PortMapper(tmp_path).async_obtain(Uplink(IPv4Address("203.0.113.20"), None))
    assert mapping.outer == Endpoint(IPv4Address("203.0.113.20"), 4500)
    assert mapping.renew_at is None


async def test_renewal_is_due_at_half_the_granted_lifetime(tmp_path: Path, gateway: Gateway) -> None:
    gateway.lifetime = 600
    mapping = await PortMapper(tmp_path, clock=lambda: 1000.0).async_obtain(LINK)
    assert mapping.outer == Endpoint(IPv4Address("203.0.113.101"), 4500)
    assert (mapping.renew_at, mapping.expires_at) == (1300.0, 1600.0)


async def test_the_granted_port_is_suggested_by_the_next_process(tmp_path: Path, gateway: Gateway) -> None:
    gateway.port = 41500
    assert (await PortMapper(tmp_path).async_obtain(LINK)).outer.port == 41500
    gateway.port = None
    assert (await PortMapper(tmp_path).async_obtain(LINK)).outer.port == 41500
    assert gateway.requests[-1] == natpmp.map_request(4500, 41500, 7200)


async def test_each_gateways_port_is_remembered_apart(tmp_path: Path, gateway: Gateway) -> None:
    (tmp_path / "portmap.json").write_text('{"ports": {"192.168.1.1": 41500}}')
    assert (await PortMapper(tmp_path).async_obtain(LINK)).outer.port == 4500
    gateway.port = 42000
    await PortMapper(tmp_path).async_obtain(LINK)
    assert state.read(tmp_path / "portmap.json") == {"ports": {"192.168.1.1": 41500, "127.0.0.1": 42000}}


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"ports": 7}', '{"ports": {"127.0.0.1": "x"}}', '{"ports": {"127.0.0.1": 0}}']
)
async def test_a_damaged_memory_costs_nothing(tmp_path: Path, gateway: Gateway, content: str) -> None:
    (tmp_path / "portmap.json").write_text(content)
    assert (await PortMapper(tmp_path).async_obtain(LINK)).outer.port == 4500


async def test_lost_requests_are_sent_again(tmp_path: Path, gateway: Gateway) -> None:
    gateway.drop = 3
    await PortMapper(tmp_path).async_obtain(LINK)
    assert len(gateway.requests) == 5


async def test_noise_does_not_hide_the_answer(tmp_path: Path, gateway: Gateway) -> None:
    gateway.noise = b"\x00\x01 not an answer"
    await PortMapper(tmp_path).async_obtain(LINK)


async def test_silence_is_told(tmp_path: Path, gateway: Gateway) -> None:
    gateway.drop = 1000
    with pytest.raises(PortMapError, match="does not answer NAT-PMP"):
        await PortMapper(tmp_path).async_obtain(LINK)
    assert len(gateway.requests) == 5


async def test_a_closed_port_ends_it_early(tmp_path: Path, gateway: Gateway) -> None:
    gateway.transport.close()
    await asyncio.sleep(0)
    with pytest.raises(PortMapError, match="does not speak NAT-PMP"):
        await PortMapper(tmp_path).async_obtain(LINK)


@pytest.mark.parametrize("outer", ["192.168.1.7", "100.64.1.1", "10.0.0.1"])
async def test_double_nat_is_told(tmp_path: Path, gateway: Gateway, outer: str) -> None:
    gateway.outer = outer
    with pytest.raises(PortMapError, match=f"itself behind a NAT .*{outer}"):
        await PortMapper(tmp_path).async_obtain(LINK)


async def test_a_gateway_without_uplink_is_told(tmp_path: Path, gateway: Gateway) -> None:
    gateway.outer = "0.0.0.0"  # noqa: S104 - what such a gateway says
    with pytest.raises(PortMapError, match="no outer address"):
        await PortMapper(tmp_path).async_obtain(LINK)


async def test_a_refusal_is_told(tmp_path: Path, gateway: Gateway) -> None:
    gateway.result = 2
    with pytest.raises(PortMapError, match="refuses to map UDP 4500: result 2"):
        await PortMapper(tmp_path).async_obtain(LINK)


async def test_release_deletes_and_never_raises(tmp_path: Path, gateway: Gateway) -> None:
    await PortMapper(tmp_path).async_release(LINK)
    assert gateway.requests[-1] == bytes.fromhex("0001 0000 1194 0000 00000000")
    gateway.drop = 1000
    await PortMapper(tmp_path).async_release(LINK)
    assert state.read(tmp_path / "portmap.json") == {}
