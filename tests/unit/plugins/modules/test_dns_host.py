# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.modules import dns_host

from tests.unit.primary import SECRET, Primary, serving
from tests.unit.running import run_module

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")
REST = {
    "mini 120 AAAA fd12:3456:789a::2",
    "_ssh._tcp 4500 PTR mini._ssh._tcp",
    "_services._dns-sd._udp 4500 PTR _ssh._tcp",
}


@pytest.fixture
def primary() -> Iterator[Primary]:
    own = ["imac 120 AAAA fd12:3456:789a::1", "_ssh._tcp 4500 PTR N._ssh._tcp", "N._ssh._tcp 120 SRV 0 0 22 imac"]
    with serving(Primary(ZONE, [*own, *sorted(REST)], KEY)) as started:
        yield started


def test_a_lost_host_is_withdrawn_whole_and_alone(primary: Primary, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: dict[str, Any] = {
        "zone": "bob.members.example",
        "prefix": "fd12:3456:789a::/48",
        "labels": ["imac"],
        "state": "absent",
        "port": primary.port,
        "key_name": KEY.name.to_text(),
        "key_secret": SECRET,
    }
    planned = run_module(dns_host.main, arguments, capsys, check=True)
    assert planned["changed"]
    assert not primary.updates
    done = run_module(dns_host.main, arguments, capsys)
    assert done["diff"] == planned["diff"]
    assert primary.text() == REST


MINI: dict[str, Any] = {
    "label": "mini",
    "title": "Bob's mini",
    "ula": "fd12:3456:789a::2",
    "services": [{"type": "ssh", "port": 22}],
    "endpoint": {"address": "203.0.113.20"},
}


@pytest.fixture
def arguments(primary: Primary) -> dict[str, Any]:
    key = {"key_name": KEY.name.to_text(), "key_secret": SECRET}
    return {"zone": "bob.members.example", "port": primary.port, "retries": 0, **key}


def test_a_host_is_published_whole(
    primary: Primary, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments["hosts"] = [MINI]
    planned = run_module(dns_host.main, arguments, capsys, check=True)
    assert not primary.updates
    done = run_module(dns_host.main, arguments, capsys)
    assert done["diff"] == planned["diff"]
    assert done["hosts"] == {"mini": {"changed": True}}
    assert done["messages"] == len(primary.updates) == 1
    assert "_autotunnel._udp.mini 120 SRV 10 0 4500 AutoTunnel-00-00-00-00-00-00-00-02" in primary.text()
    again = run_module(dns_host.main, arguments, capsys)
    assert not again["changed"]
    assert again["diff"] == []


def test_a_host_that_fails_fails_the_task_only_when_alone(
    primary: Primary, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {**MINI, "label": "bad label"}
    alone = run_module(dns_host.main, {**arguments, "hosts": [bad]}, capsys)
    assert alone["failed"]
    assert alone["msg"].startswith("bad label: host label")
    both = run_module(dns_host.main, {**arguments, "hosts": [bad, MINI]}, capsys)
    assert both["changed"]
    assert both["failed_hosts"].keys() == {"bad label"}
    assert both["hosts"]["mini"] == {"changed": True}
