# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.btmm.fleet.plugins.filter.server_records import server_records
from ansible_collections.btmm.fleet.plugins.filter.zone_notifiers import zone_notifiers
from ansible_collections.btmm.fleet.plugins.filter.zone_servers import zone_servers

PORTS: dict[str, Any] = {"notifier_push_port": 9853, "notifier_llq_port": 0}
HOSTVARS: dict[str, dict[str, Any]] = {
    "zone.lan": {"inventory_hostname_short": "zone", "zone_address": "203.0.113.10"},
    "b": {
        "inventory_hostname_short": "b",
        "btmm_label": "Zone2",
        "zone_address": "203.0.113.11",
        "zone_address6": "2001:db8::11",
        **PORTS,
    },
    "c": {"inventory_hostname_short": "c"},
}
SERVERS = zone_servers(["zone.lan", "b"], HOSTVARS, "Bob.members.example")
NOTIFIERS = zone_notifiers(SERVERS, HOSTVARS)


def test_the_inventory_names_the_servers() -> None:
    assert SERVERS == [
        {
            "host": "zone.lan",
            "label": "zone",
            "name": "zone.bob.members.example",
            "addresses": ["203.0.113.10"],
            "port": 853,
        },
        {
            "host": "b",
            "label": "zone2",
            "name": "zone2.bob.members.example",
            "addresses": ["203.0.113.11", "2001:db8::11"],
            "port": 853,
        },
    ]


def test_a_server_without_address_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="c: it has no zone_address; set"):
        zone_servers(["c"], HOSTVARS, "bob.members.example")


def test_the_zone_says_what_serves_it() -> None:
    sets = {
        (each["name"], each["type"]): each["rdata"]
        for each in server_records(SERVERS, "bob.members.example", NOTIFIERS)
    }
    assert sets == {
        ("@", "NS"): ["zone.bob.members.example.", "zone2.bob.members.example."],
        ("zone.bob.members.example.", "A"): ["203.0.113.10"],
        ("zone2.bob.members.example.", "A"): ["203.0.113.11"],
        ("zone2.bob.members.example.", "AAAA"): ["2001:db8::11"],
        ("_dns-update-tls._tcp", "SRV"): ["0 0 853 zone.bob.members.example."],
        ("_dns-query-tls._tcp", "SRV"): ["0 0 853 zone.bob.members.example.", "10 0 853 zone2.bob.members.example."],
        ("_dns-push-tls._tcp", "SRV"): ["0 0 8853 zone.bob.members.example.", "0 0 9853 zone2.bob.members.example."],
        ("_dns-llq._udp", "SRV"): ["0 0 5352 zone.bob.members.example."],
        ("_dns-llq-tls._tcp", "SRV"): ["0 0 5533 zone.bob.members.example.", "0 0 5533 zone2.bob.members.example."],
        **{(f"{label}._dns-sd._udp", "PTR"): ["bob.members.example."] for label in ("b", "db", "lb", "r", "dr")},
    }


def test_the_inventory_names_the_notifiers() -> None:
    assert [(each["label"], each["name"], each["notify_address"], each["ports"]["notify"]) for each in NOTIFIERS] == [
        ("zone-notifier", "zone.bob.members.example", "127.0.0.1", 5453),
        ("zone2-notifier", "zone2.bob.members.example", "203.0.113.11", 5453),
    ]


def test_a_zone_without_notifiers_says_so() -> None:
    without = {name: {**values, "notifier_state": "absent"} for name, values in HOSTVARS.items()}
    assert zone_notifiers(SERVERS, without) == []
    states = {each["name"]: each.get("state") for each in server_records(SERVERS, "bob.members.example")}
    assert {name: states[name] for name in ("_dns-push-tls._tcp", "_dns-llq._udp", "_dns-llq-tls._tcp")} == {
        "_dns-push-tls._tcp": "absent",
        "_dns-llq._udp": "absent",
        "_dns-llq-tls._tcp": "absent",
    }
