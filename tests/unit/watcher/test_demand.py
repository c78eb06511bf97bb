# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a packet to a peer without a tunnel; nothing here sends one."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher import demand as demand_module
from watcher.demand import FAILED, HELD, Demand, unreachable
from watcher.errors import TunnelError
from watcher.peers import Peer, Way

if TYPE_CHECKING:
    from watcher.config import Config

OWN, PEER = IPv6Address("fd12:3456:789a::1"), IPv6Address("fd12:3456:789a::2")
# An echo request as ping6 sends it (RFC 8200 section 3, RFC 4443 section 4.1), without data: version 6, payload 8, next
# header 58, hop limit 64, from ::1 to ::2 of the /48, type 128.
ECHO = bytes.fromhex(
    "60000000 0008 3a 40 fd123456789a00000000000000000001 fd123456789a00000000000000000002 80 00 abcd 0001 0001"
)
# RFC 4443 section 3.1 by hand: from us to us, type 1, code 3. The checksum, which follows, is over the pseudo
# header of RFC 8200 section 8.1: source, destination, length 56, next header 58.
REFUSED_HEAD = bytes.fromhex(
    "60000000 0038 3a 40 fd123456789a00000000000000000001 fd123456789a00000000000000000001 01 03"
)


class Rig:
    def __init__(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[bytes] = []
        self.refused: list[bytes] = []
        self.asked: list[IPv6Address] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: TunnelError | None = None
        self.calls = 0
        self.label: str | None = "imac"
        monkeypatch.setattr(demand_module, "_send", lambda data, _: self.sent.append(data))
        parts: Any = (self, self)
        self.demand = Demand(config, *parts)

    def packet(self, data: bytes) -> None:
        self.demand.packet(data, self.refused.append)

    # The locator's part.
    def owner(self, _: IPv6Address) -> str | None:
        return None

    async def async_whose(self, ula: IPv6Address) -> str | None:
        self.asked.append(ula)
        return self.label

    async def async_locate(self, _: str) -> None:
        pass

    def peer(self, label: str, ula: IPv6Address) -> Peer:
        ways: tuple[Way, ...] = ()
        return Peer(label, f"{label}.bob.members.example", ula, ways)

    # The tunnels' part.
    async def async_ensure(self, _: Peer) -> str:
        self.calls += 1
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return "opened"


@pytest.fixture
async def rig(config: Config, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(config, monkeypatch)


async def _async_rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_packets_wait_for_one_set_up_and_are_sent_as_they_were(rig: Rig) -> None:
    rig.gate.clear()
    for _ in range(HELD + 3):
        rig.packet(ECHO)
    await _async_rest()
    assert not rig.sent
    rig.gate.set()
    await _async_rest()
    assert (rig.calls, rig.sent, rig.refused) == (1, [ECHO] * HELD, [])


async def test_a_packet_that_comes_back_is_not_sent_for_ever(rig: Rig) -> None:
    rig.packet(ECHO)
    await _async_rest()
    for _ in range(10 * HELD):
        rig.packet(ECHO)
    assert len(rig.sent) == 1 + HELD
    assert rig.calls == 1


async def test_a_peer_that_cannot_be_reached_is_told_at_once_and_called_once(rig: Rig) -> None:
    rig.failure = TunnelError("does not answer")
    rig.packet(ECHO)
    await _async_rest()
    rig.packet(ECHO)
    assert rig.calls == 1
    assert not rig.sent
    assert [packet[:42] for packet in rig.refused] == [REFUSED_HEAD] * 2
    assert all(packet[48:] == ECHO for packet in rig.refused)


async def test_an_address_that_nobody_has_is_refused(rig: Rig) -> None:
    rig.label = None
    rig.packet(ECHO)
    await _async_rest()
    assert (len(rig.refused), rig.calls, rig.asked) == (1, 0, [PEER])


async def test_who_tries_all_addresses_fills_neither_memory_nor_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.label = None
    for number in range(2 * FAILED):
        rig.packet(ECHO[:38] + number.to_bytes(2) + ECHO[40:])
        await _async_rest()
    assert len(rig.demand._failed) == FAILED
    assert not caplog.records


async def test_a_peer_that_is_off_is_logged_once(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(demand_module, "QUIET_S", 0.0)
    rig.failure = TunnelError("does not answer")
    for _ in range(3):
        rig.packet(ECHO)
        await _async_rest()
    assert (rig.calls, len(caplog.records)) == (3, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ECHO[:39],
        b"\x45" + ECHO[1:],  # IPv4
        ECHO[:8] + IPv6Address("fe80::1").packed + ECHO[24:],  # not from our address
        ECHO[:24] + OWN.packed + ECHO[40:],
        ECHO[:24] + IPv6Address("ff02::16").packed + ECHO[40:],
        ECHO[:24] + IPv6Address("2001:db8::1").packed + ECHO[40:],
    ],
)
async def test_other_packets_are_no_business_of_ours(rig: Rig, data: bytes) -> None:
    rig.packet(data)
    await _async_rest()
    assert (rig.calls, rig.asked, rig.refused) == (0, [], [])


@given(st.binary(max_size=2000))
def test_an_error_has_a_right_checksum_and_fits(data: bytes) -> None:
    packet = unreachable(OWN, data)
    body = packet[40:]
    assert len(packet) <= 1280
    octets = packet[8:40] + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body + b"\0" * (len(body) % 2)
    total = sum(int.from_bytes(octets[i : i + 2], "big") for i in range(0, len(octets), 2))
    assert total % 0xFFFF == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
async def test_no_packet_breaks_it(rig: Rig, data: bytes) -> None:
    rig.packet(data)
