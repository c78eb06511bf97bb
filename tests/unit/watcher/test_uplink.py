# SPDX-License-Identifier: GPL-3.0-or-later
"""Which gateway, and whether a NAT stands in between."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from watcher.uplink import Uplink, default_gateway, is_private

TABLE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010AA8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t00000000\t0114A8C0\t0003\t0\t0\t50\t00000000\t0\t0\t0
eth0\t000AA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_the_lowest_metric_wins() -> None:
    assert default_gateway(TABLE) == IPv4Address("192.168.20.1")


def test_no_default_route() -> None:
    lines = TABLE.splitlines(keepends=True)
    assert default_gateway(lines[0] + lines[3]) is None
    assert default_gateway("") is None


def test_a_route_that_is_down_or_has_no_gateway_does_not_count() -> None:
    header = TABLE.splitlines(keepends=True)[0]
    assert default_gateway(header + "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n") is None
    assert default_gateway(header + "eth0\t00000000\t010AA8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n") is None


@pytest.mark.parametrize("text", ["10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1", "192.0.0.2"])
def test_private(text: str) -> None:
    assert is_private(IPv4Address(text))


@pytest.mark.parametrize("text", ["203.0.113.10", "198.51.100.1", "8.8.8.8", "172.32.0.1", "100.128.0.1"])
def test_public(text: str) -> None:
    assert not is_private(IPv4Address(text))


@pytest.mark.parametrize(
    ("address", "gateway", "nat"),
    [
        ("192.168.10.10", "192.168.10.1", True),
        ("100.64.3.4", "100.64.0.1", True),
        ("203.0.113.20", "203.0.113.1", False),
        ("203.0.113.20", "192.168.1.1", False),
        ("203.0.113.20", None, False),
        ("192.168.10.10", None, False),
    ],
)
def test_behind_nat(address: str, gateway: str | None, nat: bool) -> None:
    assert Uplink(IPv4Address(address), IPv4Address(gateway) if gateway else None).behind_nat is nat
