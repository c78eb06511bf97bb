# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes in a network namespace of our own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.modules import host_route

from tests.unit.running import run_module

Runner = Callable[[str], str]

PEER = {"destinations": ["fd12:3456:789a::2"], "device": "near", "source": "fd12:3456:789a::1"}


@pytest.fixture
def run(own_network: Runner, capsys: pytest.CaptureFixture[str]) -> Any:
    own_network("ip link add near type veth peer name far")
    own_network("ip link set near up")
    own_network("ip link set lo up")
    own_network("ip -6 address add fd12:3456:789a::1/128 dev lo")
    return partial(run_module, host_route.main, capsys=capsys)


def routes(own_network: Runner, table: str = "main") -> str:
    return own_network(f"ip -6 route show table {table} dev near")


def test_there_and_back(run: Any, own_network: Runner) -> None:
    dry = run(PEER, check=True)
    assert dry["changed"]
    assert "fd12:3456:789a::2" not in routes(own_network)
    done = run(PEER)
    assert done["changed_routes"] == ["fd12:3456:789a::2/128"]
    assert done["diff"] == dry["diff"] == {
        "before": "",
        "after": "fd12:3456:789a::2/128 dev near src fd12:3456:789a::1 mtu 1280\n",
    }  # fmt: skip
    (route,) = [line for line in routes(own_network).splitlines() if line.startswith("fd12")]
    assert route.startswith("fd12:3456:789a::2 src fd12:3456:789a::1 ")
    assert " mtu 1280 " in route
    assert not run(PEER)["changed"]
    assert run({**PEER, "state": "absent"}, check=True)["changed"]
    assert run({**PEER, "state": "absent"})["diff"]["after"] == ""
    assert "fd12:3456:789a::2" not in routes(own_network)
    assert not run({**PEER, "state": "absent"})["changed"]


def test_another_table_with_networks(run: Any, own_network: Runner) -> None:
    zone = {**PEER, "destinations": ["fd12:3456:789a::/48", "fd12:3456:789a::7"], "table": 220}
    assert len(run(zone)["changed_routes"]) == 2
    assert not run(zone)["changed"]
    assert "fd12:3456:789a::/48 " in routes(own_network, "220")
    assert "fd12:3456:789a::7" not in routes(own_network)


def test_what_differs_is_replaced(run: Any, own_network: Runner) -> None:
    run(PEER)
    result = run({**PEER, "mtu": 1300})
    assert "mtu 1280" in result["diff"]["before"]
    assert "mtu 1300" in result["diff"]["after"]
    run({**PEER, "device": "lo"})
    assert "fd12:3456:789a::2" not in routes(own_network)
    assert not run({**PEER, "device": "lo"})["changed"]


def test_anothers_route_is_left(run: Any, own_network: Runner) -> None:
    own_network("ip -6 route add fd12:3456:789a::2 dev lo")
    assert not run({**PEER, "state": "absent"})["changed"]


def test_a_preferred_route_is_told(run: Any, own_network: Runner) -> None:
    own_network("ip -6 route add fd12:3456:789a::2 dev lo metric 5")
    result = run(PEER)
    assert result["failed"]
    assert "fd12:3456:789a::2/128 dev lo src - mtu - is preferred" in result["msg"]
    # Ours is there, too, and can be removed.
    assert run({**PEER, "state": "absent"})["changed"]
    assert "dev lo metric 5" in own_network("ip -6 route show")


def test_a_route_that_refuses_is_replaced(run: Any, own_network: Runner) -> None:
    own_network("ip -6 route add unreachable fd12:3456:789a::2")
    assert run(PEER)["diff"]["before"].startswith("fd12:3456:789a::2/128 dev - ")
    assert not run(PEER)["changed"]


def test_the_first_error_names_its_route(run: Any, own_network: Runner) -> None:
    several = {**PEER, "destinations": [f"fd12:3456:789a::{number}" for number in range(2, 5)]}
    own_network("ip -6 address del fd12:3456:789a::1/128 dev lo")
    assert "'ip route replace fd12:3456:789a::2/128 dev near src" in run(several)["msg"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"destinations": ["fd12:3456:789a::2/48"]}, "host bits"),
        ({"destinations": ["192.0.2.1"]}, "IPv6"),
        ({"source": "imac"}, "IPv6"),
        ({"source": "fd12:3456:789a::99"}, "give the host that address first"),
        ({"device": "nowhere"}, "name a link that the host has"),
        ({"mtu": 576}, "1280 or more"),
    ],
)
def test_errors(run: Any, changed: dict[str, Any], said: str) -> None:
    result = run({**PEER, **changed})
    assert result["failed"]
    assert said in result["msg"]
