# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, views
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

ZONE = names.parse_zone("bob.members.example")
Z = "bob.members.example."


@pytest.mark.parametrize(
    ("line", "data"),
    [
        ("imac 120 AAAA fd00::1", {"address": "fd00::1"}),
        ("imac 120 A 192.0.2.1", {"address": "192.0.2.1"}),
        ("_ssh._tcp 1 SRV 10 5 22 imac", {"priority": 10, "weight": 5, "port": 22, "target": f"imac.{Z}"}),
        ("_ssh._tcp 1 PTR N._ssh._tcp", {"target": f"N._ssh._tcp.{Z}"}),
        ("@ 1 MX 10 mail", {"preference": 10, "exchange": f"mail.{Z}"}),
        ("imac 1 TXT model=iMac4,1 ü", {"strings": ["model=iMac4,1", "ü"]}),
        (r"imac 1 TXT \255", {"strings": ["\\xff"]}),
        ("@ 1 CAA 0 issue ca.example", {"flags": 0, "tag": "issue", "value": "ca.example"}),
    ],
)
def test_every_field_has_its_name_and_type(line: str, data: dict[str, Any]) -> None:
    seen = views.plain(Record.from_text(line, ZONE))
    assert seen["data"] == data
    assert seen["name"].endswith(Z)
    json.dumps(seen)


def test_the_text_goes_back_to_the_record() -> None:
    record = Record.from_text(r"Bob's\032iMac._ssh._tcp 120 SRV 0 0 22 imac", ZONE)
    seen = views.plain(record)
    assert Record.from_text(f"{seen['name']} {seen['ttl']} {seen['type']} {seen['rdata']}") == record


def test_the_order_is_that_of_names_from_the_root() -> None:
    lines = ["b.a 1 A 192.0.2.1", "z 1 A 192.0.2.1", "a 1 TXT x", "a 1 A 192.0.2.2", "A 1 A 192.0.2.1", "@ 1 NS a"]
    ordered = views.in_order(Record.from_text(line, ZONE) for line in lines)
    assert [str(r.name.relativize(ZONE)) for r in ordered] == ["@", "A", "a", "a", "b.a", "z"]
