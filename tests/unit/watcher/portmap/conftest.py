# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway on loopback that speaks PCP and NAT-PMP, badly when told to."""

from __future__ import annotations

import asyncio
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import natpmp, pcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MAPPED = bytes(10) + b"\xff\xff"


class FakeGateway(asyncio.DatagramProtocol):
    """Grants what is asked, unless told otherwise. Its octets are laid out by hand, not by the codecs under test."""

    def __init__(self) -> None:
        self.outer = "203.0.113.101"
        self.pcp: str = "yes"  # or "refuses the version", "drops"
        self.result = 0
        self.pmp_result = 0
        self.lifetime: int | None = None
        self.port: int | None = None
        self.epoch = 1000
        self.silent: Callable[[], None] = lambda: None
        self._drop = 0
        self.noise = b""
        self.requests: list[bytes] = []

    @property
    def drop(self) -> int:
        """How many requests go unanswered from now on."""
        return self._drop

    @drop.setter
    def drop(self, count: int) -> None:
        self._drop = count
        self.silent()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(data)
        if self.drop:
            self._drop -= 1
            return
        if self.noise:
            self.transport.sendto(self.noise, addr)
        answer = self._pcp(data) if data[0] == 2 else self._pmp(data)
        if answer:
            self.transport.sendto(answer, addr)

    def _pcp(self, data: bytes) -> bytes:
        if self.pcp == "drops":
            return b""
        if self.pcp == "refuses the version":
            return struct.pack("!BBHL", 0, 128 + data[1], 1, self.epoch)  # RFC 6886 section 3.5
        asked = int.from_bytes(data[4:8])
        granted = asked if self.lifetime is None or not asked else self.lifetime
        external = self.port or int.from_bytes(data[42:44])
        header = struct.pack("!BBBBLL12x", 2, 0x81, 0, self.result, 0 if self.result else granted, self.epoch)
        return header + data[24:42] + external.to_bytes(2) + MAPPED + IPv4Address(self.outer).packed

    def _pmp(self, data: bytes) -> bytes:
        if data[1] == 0:
            return struct.pack("!BBHL", 0, 128, 0, self.epoch) + IPv4Address(self.outer).packed
        _, _, _, internal, suggested, lifetime = struct.unpack("!BBHHHL", data)
        granted = lifetime if self.lifetime is None or not lifetime else self.lifetime
        port = self.port or suggested
        return struct.pack("!BBHLHHL", 0, 129, self.pmp_result, self.epoch, internal, port, granted)


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeGateway]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        FakeGateway, local_addr=("127.0.0.1", 0)
    )
    monkeypatch.setattr(pcp, "SERVER_PORT", transport.get_extra_info("sockname")[1])
    # Where it answers, a machine that stands still for a moment must not make two requests of one.
    protocol.silent = lambda: monkeypatch.setattr(natpmp, "FIRST_RETRY_S", 0.02)
    yield protocol
    transport.close()
