# SPDX-License-Identifier: GPL-3.0-or-later
"""UPnP by a real child process, with a stand-in for the C library that says what gateways say."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from watcher import child
from watcher.errors import DoubleNatError, PortMapError, SilentGatewayError
from watcher.portmap.igd import IgdError, map_port
from watcher.portmap.igd_client import Igd
from watcher.portmap.mapper import Mapper
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import FakeGateway

OWN = IPv4Address("192.168.10.10")
GATEWAY = IPv4Address("127.0.0.1")

LIBRARY = """
class UPnP:
    def __init__(self, multicastif):
        self.discoverdelay = 0
    def discover(self):
        if {found} == 0:
            raise Exception("Success")
        return {found}
    def selectigd(self):
        return "http://{host}:5000/ctl/IPConn"
    def externalipaddress(self):
        return "{outer}"
    def addportmapping(self, port, protocol, host, inner, text, remote, lease):
        if port < {free}:
            raise Exception("ConflictInMappingEntry")
        self.lease = lease
        return True
    def getspecificportmapping(self, port, protocol):
        return ("192.168.10.10", 4500, "btmm", True, self.lease)
    def deleteportmapping(self, port, protocol):
        if {broken}:
            raise Exception("NoSuchEntryInArray")
        return True
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def write(
        found: int = 1, host: str = "127.0.0.1", outer: str = "203.0.113.101", free: int = 0, broken: int = 0
    ) -> None:
        text = LIBRARY.format(found=found, host=host, outer=outer, free=free, broken=broken)
        (tmp_path / "miniupnpc.py").write_text(text)

    monkeypatch.setattr(child, "_HOME", f"{tmp_path}{os.pathsep}{child._HOME}")
    return write


async def test_found_mapped_and_deleted(library: Any) -> None:
    library()
    async with Igd(OWN, GATEWAY) as igd:
        assert await igd.async_outer() == IPv4Address("203.0.113.101")
        assert await igd.async_map(4500) == (4500, 7200)
    async with Igd(OWN, GATEWAY) as igd:
        await igd.async_unmap(4500)


async def test_a_port_that_is_taken_is_passed_over(library: Any) -> None:
    library(free=4503)
    async with Igd(OWN, GATEWAY) as igd:
        await igd.async_outer()
        assert await igd.async_map(4500) == (4503, 7200)


async def test_no_free_port_is_told(library: Any) -> None:
    library(free=9000)
    async with Igd(OWN, GATEWAY) as igd:
        await igd.async_outer()
        with pytest.raises(PortMapError, match=r"refuses to map UDP 4500 by UPnP .no port from 4500 on is free"):
            await igd.async_map(4500)


async def test_nothing_found_is_told(library: Any) -> None:
    library(found=0)
    async with Igd(OWN, GATEWAY) as igd:
        with pytest.raises(SilentGatewayError, match=r"no UPnP gateway is found .nothing answers"):
            await igd.async_outer()


async def test_another_machine_is_not_the_gateway(library: Any) -> None:
    library(host="192.168.10.9")
    async with Igd(OWN, GATEWAY) as igd:
        with pytest.raises(SilentGatewayError, match=r"192\.168\.10\.9 offers it, which is not the gateway"):
            await igd.async_outer()


async def test_no_public_address_is_told(library: Any) -> None:
    library(outer="")
    async with Igd(OWN, GATEWAY) as igd:
        with pytest.raises(PortMapError, match="no public address by UPnP"):
            await igd.async_outer()


async def test_a_mapping_that_can_not_be_deleted_is_told(library: Any) -> None:
    library(broken=1)
    async with Igd(OWN, GATEWAY) as igd:
        with pytest.raises(PortMapError, match="NoSuchEntryInArray"):
            await igd.async_unmap(4500)


async def test_without_the_library_that_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "miniupnpc.py").write_text("raise ImportError")
    monkeypatch.setattr(child, "_HOME", f"{tmp_path}{os.pathsep}{child._HOME}")
    async with Igd(OWN, GATEWAY) as igd:
        with pytest.raises(SilentGatewayError, match="without the Debian package python3-miniupnpc"):
            await igd.async_outer()


async def test_a_library_that_falls_over_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "miniupnpc.py").write_text("import os; os._exit(11)")
    monkeypatch.setattr(child, "_HOME", f"{tmp_path}{os.pathsep}{child._HOME}")
    async with Igd(OWN, GATEWAY) as igd:
        with pytest.raises(SilentGatewayError, match="its helper ended"):
            await igd.async_outer()


LINK = Uplink(IPv4Address("127.0.0.1"), GATEWAY)


async def test_upnp_when_5351_is_silent(tmp_path: Path, gateway: FakeGateway, library: Any) -> None:
    library(free=4502)
    gateway.drop = 1000
    mapper = Mapper(tmp_path)
    mapping = await mapper.async_obtain(LINK)
    assert (str(mapping.outer), mapping.method, mapping.lifetime) == ("203.0.113.101:4502", "upnp", 7200)
    mapper.doubt()
    asked = len(gateway.requests)
    assert (await mapper.async_obtain(LINK)).outer == mapping.outer
    assert len(gateway.requests) == asked, "what works is asked again, and nothing else"
    await mapper.async_release()


async def test_a_second_nat_is_told_by_upnp_too(tmp_path: Path, gateway: FakeGateway, library: Any) -> None:
    library(outer="192.168.1.7")
    gateway.drop = 1000
    with pytest.raises(DoubleNatError):
        await Mapper(tmp_path).async_obtain(LINK)


class Permanent:
    """A gateway that knows no leases (error 725)."""

    def __init__(self) -> None:
        self.leases: list[int] = []

    def addportmapping(self, *arguments: Any) -> None:
        self.leases.append(arguments[-1])
        if arguments[-1]:
            raise OSError("OnlyPermanentLeasesSupported")

    def getspecificportmapping(self, port: int, protocol: str) -> tuple[str, int, str, bool, int]:
        return ("192.168.10.10", 4500, "btmm", True, 0)


def test_a_permanent_mapping_only_where_no_other_can_be_had() -> None:
    gateway = Permanent()
    assert map_port(gateway, "192.168.10.10", 4500, 7200) == (4500, None)
    assert gateway.leases == [7200, 0]


def test_what_the_gateway_refuses_is_told() -> None:
    class Refusing(Permanent):
        def addportmapping(self, *arguments: Any) -> None:
            raise OSError("NotAuthorized")

    with pytest.raises(IgdError, match="NotAuthorized"):
        map_port(Refusing(), "192.168.10.10", 4500, 7200)
