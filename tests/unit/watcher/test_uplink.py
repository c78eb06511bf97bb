# SPDX-License-Identifier: GPL-3.0-or-later
"""Which gateway, and whether a NAT stands in between."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from watcher.uplink import Route, Uplink, best_route, find, is_private, routes

TABLE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010AA8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t00000000\t0114A8C0\t0003\t0\t0\t50\t00000000\t0\t0\t0
eth0\t000AA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


FAR = IPv4Address("198.51.100.1")


def test_the_lowest_metric_wins() -> None:
    best = best_route(routes(TABLE), FAR)
    assert best == Route("wlan0", IPv4Network("0.0.0.0/0"), IPv4Address("192.168.20.1"), 50)


def test_the_longest_prefix_wins() -> None:
    best = best_route(routes(TABLE), IPv4Address("192.168.10.7"))
    assert best == Route("eth0", IPv4Network("192.168.10.0/24"), None, 0)


def test_no_default_route() -> None:
    lines = TABLE.splitlines(keepends=True)
    assert best_route(routes(lines[0] + lines[3]), FAR) is None
    assert routes("") == ()


def test_a_route_that_is_down_does_not_count() -> None:
    header = TABLE.splitlines(keepends=True)[0]
    assert routes(header + "eth0\t00000000\t010AA8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n") == ()


def test_this_host_as_it_is() -> None:
    """Whatever the machine has: what is found is of the Internet's kind, and on the link that it names."""
    link = find()
    if link is None:
        pytest.skip("this machine has no way out")
    assert link.address6 is None or link.address6 in IPv6Network("2000::/3")
    if link.gateway is not None:
        assert link.interface is not None
        assert not link.subnets or link.on_link(link.gateway)


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
