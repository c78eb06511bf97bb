# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dns.rcode
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.modules import dns_info

from tests.unit.primary import SECRET, Primary, serving
from tests.unit.running import run_module

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")
Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def primary() -> Iterator[Primary]:
    lines = ["imac 120 AAAA fd00::1", "_autotunnel._udp.imac 120 SRV 0 0 4500 T", "T 120 A 192.0.2.1"]
    with serving(Primary(ZONE, lines, KEY)) as started:
        yield started


@pytest.fixture
def run(primary: Primary, capsys: pytest.CaptureFixture[str]) -> Runner:
    def runner(**arguments: object) -> dict[str, Any]:
        key = {"key_name": KEY.name.to_text(), "key_secret": SECRET}
        return run_module(dns_info.main, {"port": primary.port, "retries": 0, **key, **arguments}, capsys)

    return runner


def test_sets_come_with_typed_data(run: Runner) -> None:
    result = run(zone="bob.members.example", names=["imac", "_autotunnel._udp.imac"], types=["AAAA", "srv"])
    assert not result["changed"]
    assert result["zones"] == ["bob.members.example."]
    assert [each["data"] for each in result["records"]] == [
        {"address": "fd00::1"},
        {"priority": 0, "weight": 0, "port": 4500, "target": "T.bob.members.example."},
    ]


def test_the_zone_is_found_by_the_name(run: Runner) -> None:
    result = run(names=["imac.bob.members.example."], types=["AAAA", "A"])
    assert result["zones"] == ["bob.members.example."]
    assert len(result["records"]) == 1


def test_a_whole_zone_by_transfer(run: Runner) -> None:
    assert [each["type"] for each in run(zone="bob.members.example")["records"]] == ["SOA", "AAAA", "SRV", "A"]
    assert len(run(zone="bob.members.example", types=["A"])["records"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of the following is required: zone, names"),
        ({"names": ["imac"]}, "types"),
        ({"names": ["imac"], "types": ["A"]}, "must end in a dot"),
        ({"zone": "bob.members.example", "types": ["WHAT"]}, "not a record type"),
        ({"zone": "bob.members.example", "names": ["a b"], "types": ["A"]}, "not a record"),
    ],
)
def test_bad_input_is_one_sentence(run: Runner, arguments: dict[str, Any], words: str) -> None:
    assert words in run(**arguments)["msg"]


def test_a_refusal_is_one_sentence(run: Runner, primary: Primary) -> None:
    primary.rcode = dns.rcode.REFUSED
    assert "REFUSED" in run(zone="bob.members.example")["msg"]
