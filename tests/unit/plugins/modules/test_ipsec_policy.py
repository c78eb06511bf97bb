# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of the kernel, in a network namespace of our own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.modules import ipsec_policy

from tests.unit.running import run_module

Runner = Callable[[str], str]

OUT = {
    "source": "fd12:3456:789a::1/128",
    "destination": "fd12:3456:789a::2/128",
    "direction": "out",
    "outer_source": "192.0.2.1",
    "outer_destination": "203.0.113.131",
}
BLOCK = {"source": "::/0", "destination": "fd12:3456:789a::/48", "direction": "out", "action": "block"}


@pytest.fixture
def run(own_network: Runner, capsys: pytest.CaptureFixture[str]) -> Any:
    own_network("ip link set lo up")
    return partial(run_module, ipsec_policy.main, capsys=capsys)


def test_there_and_back(run: Any, own_network: Runner) -> None:
    both = {"policies": [OUT, BLOCK]}
    dry = run(both, check=True)
    assert own_network("ip xfrm policy") == ""
    done = run(both)
    assert done["changed_policies"] == [
        "out fd12:3456:789a::1/128 fd12:3456:789a::2/128",
        "out ::/0 fd12:3456:789a::/48",
    ]
    assert done["diff"] == dry["diff"]
    listed = own_network("ip xfrm policy").split()
    assert " ".join(listed).count("tmpl src 192.0.2.1 dst 203.0.113.131 proto esp reqid 0 mode tunnel") == 1
    assert listed.count("block") == 1
    assert not run(both)["changed"]
    assert run({**both, "state": "absent"}, check=True)["changed"]
    assert own_network("ip xfrm policy").split() == listed
    assert run({**both, "state": "absent"})["diff"]["after"] == ""
    assert own_network("ip xfrm policy") == ""
    assert not run({**both, "state": "absent"})["changed"]


def test_others_are_left(run: Any, own_network: Runner) -> None:
    run({"policies": [OUT]})
    run({"policies": [BLOCK]})
    run({"policies": [BLOCK], "state": "absent"})
    assert "192.0.2.1" in own_network("ip xfrm policy")


@pytest.mark.parametrize(
    "changed",
    [
        {"outer_destination": "203.0.113.132"},
        {"outer_source": "2001:db8::1", "outer_destination": "2001:db8::2"},
        {"priority": 5},
        {"reqid": 7},
        {"action": "block"},
        {"action": "allow"},
    ],
)
def test_what_differs_is_replaced(run: Any, changed: dict[str, Any]) -> None:
    run({"policies": [OUT]})
    result = run({"policies": [{**OUT, **changed}]})
    assert result["changed"]
    assert result["diff"]["before"] != result["diff"]["after"]
    assert not run({"policies": [{**OUT, **changed}]})["changed"]


def test_an_optional_template_is_no_protection(run: Any, own_network: Runner) -> None:
    """Such a policy lets packets in clear in, so it differs from the one that is wanted."""
    back = {**OUT, "direction": "in"}
    own_network(
        "ip xfrm policy add src fd12:3456:789a::1/128 dst fd12:3456:789a::2/128 dir in priority 1000000 "
        "tmpl src 192.0.2.1 dst 203.0.113.131 proto esp reqid 0 mode tunnel level use"
    )
    assert run({"policies": [back]})["changed"]
    assert "level use" not in own_network("ip xfrm policy")
    assert not run({"policies": [back]})["changed"]


def test_a_policy_has_one_meaning(run: Any) -> None:
    result = run({"policies": [BLOCK, {**BLOCK, "action": "allow"}]})
    assert "out ::/0 fd12:3456:789a::/48 is named twice" in result["msg"]


def test_the_kernel_obeys(run: Any, own_network: Runner) -> None:
    own_network("ip link add near type veth peer name far")
    own_network("ip link set near up")
    own_network("ip link set far up")
    own_network("ip -6 address add fd12:3456:789a::1/48 dev near nodad")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"in clear", ("fd12:3456:789a::2", 9))
        run({"policies": [BLOCK]})
        with pytest.raises(PermissionError):
            sock.sendto(b"in clear", ("fd12:3456:789a::2", 9))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"outer_source": None}, "no outer addresses"),
        ({"outer_source": "2001:db8::1"}, "two families"),
        ({"source": "192.0.2.1"}, "two families"),
        ({"source": "fd12:3456:789a::1/48"}, "host bits"),
        ({"direction": "sideways"}, "direction"),
        ({"outer_source": "imac"}, "'imac' is no address: give"),
    ],
)
def test_errors(run: Any, changed: dict[str, Any], said: str) -> None:
    result = run({"policies": [{**OUT, **changed}]})
    assert result["failed"]
    assert said in result["msg"]
