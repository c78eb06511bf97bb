# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says about the fleet's hosts: each fault belongs to one host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.action import inventory_check

from tests.unit.acting import run_action

SSH = {"type": "ssh", "port": 22}


def faults(**hosts: dict[str, Any]) -> dict[str, str]:
    described = {name.replace("_", "."): {"btmm_zone": "bob.members.example", **given} for name, given in hosts.items()}
    variables = {"hostvars": described, "groups": {"btmm_fleet": list(described)}}
    found: dict[str, str] = run_action(inventory_check.ActionModule, {}, variables)["faults"]
    return found


def test_good_hosts() -> None:
    assert faults(imac={"btmm_title": "Bob's iMac", "btmm_services": [SSH]}, mini_lan={}) == {}


def test_same_label_is_told_to_both_and_to_no_other() -> None:
    found = faults(imac={}, mini={"btmm_label": "IMAC"}, macbook={})
    assert set(found) == {"imac", "mini"}
    assert found["mini"] == "mini: host 'imac' has the label 'imac' too; set another btmm_label for one of them"


def test_short_names_may_collide_too() -> None:
    assert set(faults(mini_lan={}, mini_cafe={})) == {"mini.lan", "mini.cafe"}


def test_titles_are_unique_without_case() -> None:
    found = faults(a={"btmm_title": "Bob's Mac"}, b={"btmm_title": "bob's mac"})
    assert "title" in found["a"]
    assert "set another btmm_title" in found["b"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"btmm_zone": "local"}, "not a domain"),
        ({"btmm_zone": ".".join(["x" * 60] * 5)}, "255 octets"),
        ({"btmm_zone": None}, "set btmm_zone"),
        ({"btmm_label": "not a label"}, "set btmm_label"),
        ({"btmm_title": "x" * 64}, "set btmm_title"),
        ({"btmm_services": [{"type": "ssh"}]}, "needs a type and a port"),
        ({"btmm_services": [{"type": "s s h", "port": 22}]}, "service type"),
        ({"btmm_services": [SSH, SSH]}, "twice"),
        ({"btmm_services": [{"type": "http", "port": 80}], "services_web": True, "services_web_port": 8080}, "twice"),
    ],
)
def test_faults_are_one_sentence_with_the_host_first(given: dict[str, Any], words: str) -> None:
    found = faults(imac=given, mini={})
    assert set(found) == {"imac"}
    assert found["imac"].startswith("imac: ")
    assert words in found["imac"]
    assert "\n" not in found["imac"]
