# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a mapping is asked for, what is kept of it, and what is told when there is none."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import natpmp
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from watcher.clock import boottime
from watcher.errors import CarrierNatError, DoubleNatError, NoIpv4Error, PortMapError, SilentGatewayError
from watcher.portmap.mapper import Mapper
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import FakeGateway

LINK = Uplink(IPv4Address("127.0.0.1"), IPv4Address("127.0.0.1"))
OUTER = Endpoint(IPv4Address("203.0.113.101"), 4500)


async def test_a_public_host_needs_no_mapping(tmp_path: Path) -> None:
    mapping = await Mapper(tmp_path).async_obtain(Uplink(IPv4Address("203.0.113.20"), None))
    assert (mapping.outer, mapping.method) == (Endpoint(IPv4Address("203.0.113.20"), 4500), "none")
    assert mapping.renew_at is None


async def test_a_host_without_ipv4_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoIpv4Error, match="no IPv4 way out"):
        await Mapper(tmp_path).async_obtain(Uplink(None, None))


async def test_pcp_comes_first_and_takes_one_question(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.lifetime = 600
    mapping = await Mapper(tmp_path).async_obtain(LINK)
    assert (mapping.outer, mapping.method, mapping.lifetime) == (OUTER, "pcp", 600)
    assert [data[0] for data in gateway.requests] == [2]
    assert mapping.renew_at is not None
    assert 300 <= mapping.renew_at - boottime() + 1 <= 377


async def test_what_is_not_due_is_not_asked_again(tmp_path: Path, gateway: FakeGateway) -> None:
    mapper = Mapper(tmp_path)
    first = await mapper.async_obtain(LINK)
    assert await mapper.async_obtain(LINK) is first
    assert len(gateway.requests) == 1
    mapper.doubt()
    await mapper.async_obtain(LINK)
    assert len(gateway.requests) == 2
    mapper.close()


@pytest.mark.parametrize("how", ["refuses the version", "drops"])
async def test_nat_pmp_when_the_gateway_does_not_speak_pcp(tmp_path: Path, gateway: FakeGateway, how: str) -> None:
    gateway.pcp = how
    gateway.lifetime = 600
    mapping = await Mapper(tmp_path).async_obtain(LINK)
    assert (mapping.outer, mapping.method, mapping.lifetime) == (OUTER, "nat-pmp", 600)
    assert mapping.renew_at is not None
    assert mapping.renew_at - boottime() == pytest.approx(300, abs=1)
    assert gateway.requests[-1] == natpmp.map_request(4500, 4500, 7200)


async def test_nat_pmp_when_it_may_and_pcp_may_not(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.result = 2
    assert (await Mapper(tmp_path).async_obtain(LINK)).method == "nat-pmp"


async def test_a_late_refusal_of_pcp_does_not_end_nat_pmp(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.pcp = "refuses the version"
    gateway.noise = bytes.fromhex("0081 0001 00000000")
    assert (await Mapper(tmp_path).async_obtain(LINK)).method == "nat-pmp"


@pytest.mark.parametrize("how", ["yes", "drops"])
async def test_the_granted_port_and_the_nonce_outlive_the_process(
    tmp_path: Path, gateway: FakeGateway, how: str
) -> None:
    gateway.pcp = how
    gateway.port = 41500
    assert (await Mapper(tmp_path).async_obtain(LINK)).outer.port == 41500
    gateway.port = None
    assert (await Mapper(tmp_path).async_obtain(LINK)).outer.port == 41500
    nonces = {data[24:36] for data in gateway.requests if data[0] == 2}
    assert len(nonces) == 1


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"gateways": 7}',
        '{"gateways": {"127.0.0.1": "x"}}',
        '{"gateways": {"127.0.0.1": {"nonce": "00", "port": 9}}}',
        '{"gateways": {"127.0.0.1": {"nonce": "000102030405060708090a0b", "port": 0}}}',
    ],
)
async def test_a_damaged_memory_costs_nothing(tmp_path: Path, gateway: FakeGateway, content: str) -> None:
    (tmp_path / "portmap.json").write_text(content)
    assert (await Mapper(tmp_path).async_obtain(LINK)).outer.port == 4500


async def test_lost_requests_are_sent_again(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.drop = 3
    assert (await Mapper(tmp_path).async_obtain(LINK)).method in {"pcp", "nat-pmp"}


async def test_noise_does_not_hide_the_answer(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.noise = b"\x00\x01 not an answer"
    await Mapper(tmp_path).async_obtain(LINK)


async def test_silence_is_told(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.drop = 1000
    with pytest.raises(
        SilentGatewayError, match=r"does not answer on UDP \d+, and .*UPnP.*: switch PCP, NAT-PMP or UPnP"
    ):
        await Mapper(tmp_path).async_obtain(LINK)
    assert sum(data[0] == 2 for data in gateway.requests) == 4


async def test_a_closed_port_ends_it_early(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.transport.close()
    await asyncio.sleep(0)
    with pytest.raises(SilentGatewayError, match="Connection refused"):
        await Mapper(tmp_path).async_obtain(LINK)


@pytest.mark.parametrize("how", ["yes", "drops"])
@pytest.mark.parametrize(
    ("outer", "error"),
    [
        ("192.168.1.7", DoubleNatError),
        ("10.0.0.1", DoubleNatError),
        ("169.254.1.1", DoubleNatError),
        ("100.64.1.1", CarrierNatError),
        ("192.0.0.2", CarrierNatError),
    ],
)
async def test_a_second_nat_is_told(
    tmp_path: Path, gateway: FakeGateway, how: str, outer: str, error: type[PortMapError]
) -> None:
    gateway.pcp = how
    gateway.outer = outer
    with pytest.raises(error, match=f"behind .*{outer}.*: "):
        await Mapper(tmp_path).async_obtain(LINK)
    if how == "yes":
        assert gateway.requests[-1][4:8] == bytes(4), "the mapping that leads nowhere is left open"


async def test_a_nat_on_the_way_to_the_gateway_is_told(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.result = 12
    with pytest.raises(DoubleNatError, match="ADDRESS_MISMATCH") as caught:
        await Mapper(tmp_path).async_obtain(LINK)
    assert caught.value.retry_after_s == 1800


async def test_a_server_that_sees_another_address_tells_of_a_second_nat(tmp_path: Path, gateway: FakeGateway) -> None:
    mapping = await Mapper(tmp_path).async_obtain(LINK)
    assert mapping.differs_from(IPv4Address("203.0.113.101")) is None
    assert isinstance(mapping.differs_from(IPv4Address("198.51.100.1")), DoubleNatError)


@pytest.mark.parametrize("how", ["yes", "drops"])
async def test_a_gateway_without_uplink_is_told(tmp_path: Path, gateway: FakeGateway, how: str) -> None:
    gateway.pcp = how
    gateway.outer = "0.0.0.0"  # noqa: S104 - what such a gateway says
    with pytest.raises(PortMapError, match="no outer address"):
        await Mapper(tmp_path).async_obtain(LINK)


async def test_a_network_failure_is_told(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.result = 7
    with pytest.raises(PortMapError, match=r"no outer address .*NETWORK_FAILURE") as caught:
        await Mapper(tmp_path).async_obtain(LINK)
    assert caught.value.retry_after_s == 30


async def test_a_refusal_is_told(tmp_path: Path, gateway: FakeGateway) -> None:
    gateway.pcp = "drops"
    gateway.pmp_result = 2
    with pytest.raises(PortMapError, match="refuses to map UDP 4500: result 2"):
        await Mapper(tmp_path).async_obtain(LINK)


@pytest.mark.parametrize("how", ["yes", "drops"])
async def test_release_deletes_and_never_raises(tmp_path: Path, gateway: FakeGateway, how: str) -> None:
    gateway.pcp = how
    mapper = Mapper(tmp_path)
    await mapper.async_obtain(LINK)
    await mapper.async_release()
    wanted = bytes.fromhex("0001 0000 1194 0000 00000000") if how == "drops" else gateway.requests[0][:4] + bytes(4)
    assert gateway.requests[-1].startswith(wanted)
    await mapper.async_obtain(LINK)
    gateway.drop = 1000
    await mapper.async_release()


async def test_what_pcp_may_not_delete_nat_pmp_does(tmp_path: Path, gateway: FakeGateway) -> None:
    """Seen with miniupnpd 2.3.9: a mapping that NAT-PMP made is renewed by PCP, and not deleted."""
    mapper = Mapper(tmp_path)
    await mapper.async_obtain(LINK)
    gateway.result = 2
    await mapper.async_release()
    assert gateway.requests[-1] == bytes.fromhex("0001 0000 1194 0000 00000000")


async def test_the_last_user_deletes_and_no_other(tmp_path: Path, gateway: FakeGateway) -> None:
    one, other = Mapper(tmp_path), Mapper(tmp_path)
    await one.async_obtain(LINK)
    await other.async_obtain(LINK)
    asked = len(gateway.requests)
    await one.async_release()
    assert len(gateway.requests) == asked
    await other.async_release()
    assert gateway.requests[-1][4:8] == bytes(4)


async def test_a_reload_is_not_another_user(tmp_path: Path, gateway: FakeGateway) -> None:
    before, after = Mapper(tmp_path), Mapper(tmp_path)
    await before.async_obtain(LINK)
    before.close()
    await after.async_obtain(LINK)
    await after.async_release()
    assert gateway.requests[-1][4:8] == bytes(4)


async def test_a_silent_gateway_does_not_end_a_mapping_that_holds(tmp_path: Path, gateway: FakeGateway) -> None:
    mapper = Mapper(tmp_path)
    first = await mapper.async_obtain(LINK)
    gateway.drop = 1000
    mapper.doubt()
    held = await mapper.async_obtain(LINK)
    assert (held.outer, held.expires_at) == (first.outer, first.expires_at)


NAT_PMP_NEWS = bytes.fromhex("0080 0000 00000000 cb007197")  # captured: miniupnpd after its WAN address changed
NAT_PMP_SAME = bytes.fromhex("0080 0000 000003e8 cb007165")
PCP_NEWS = bytes.fromhex("02 80 00 00 00000000 00000000 000000000000000000000000")


def announce(*datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for datagram in datagrams:
            sock.sendto(datagram, ("224.0.0.1", 5350))


@pytest.mark.parametrize("news", [[NAT_PMP_NEWS], [PCP_NEWS], [PCP_NEWS, NAT_PMP_NEWS, PCP_NEWS]])
async def test_an_announced_change_is_asked_for_at_once(
    tmp_path: Path, gateway: FakeGateway, news: list[bytes]
) -> None:
    told = asyncio.Event()
    mapper = Mapper(tmp_path, told.set)
    await mapper.async_obtain(LINK)
    gateway.outer, gateway.epoch = "203.0.113.151", 0
    announce(*news)
    async with asyncio.timeout(1):
        await told.wait()
    assert (await mapper.async_obtain(LINK)).outer.address == IPv4Address("203.0.113.151")
    assert len(gateway.requests) == 2, "a burst is one question"
    mapper.close()


@pytest.mark.parametrize("noise", [b"", b"x", bytes(1500), NAT_PMP_SAME, PCP_NEWS[:20]])
async def test_nothing_new_is_not_told(tmp_path: Path, gateway: FakeGateway, noise: bytes) -> None:
    told = asyncio.Event()
    gateway.pcp = "drops"
    mapper = Mapper(tmp_path, told.set)
    await mapper.async_obtain(LINK)
    asked = len(gateway.requests)
    announce(noise)
    await asyncio.sleep(0.2)
    assert not told.is_set()
    assert len(gateway.requests) == asked
    mapper.close()


async def test_an_announcement_of_another_machine_is_passed_over(tmp_path: Path, gateway: FakeGateway) -> None:
    mapper = Mapper(tmp_path)
    await mapper.async_obtain(LINK)
    assert mapper._listener is not None
    mapper._listener.datagram_received(PCP_NEWS, ("127.0.0.2", 5351))
    await asyncio.sleep(0.2)
    assert len(gateway.requests) == 1
    mapper.close()
