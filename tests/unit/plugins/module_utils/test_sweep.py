# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.btmm.fleet.plugins.module_utils import names, sweep
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

ZONE = names.parse_zone("bob.members.example")
REVERSE = names.parse_zone("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa")
REST = "0." * 19
FORWARD = [Record.from_text(line, ZONE) for line in ("imac 60 AAAA fd12:3456:789a::1", "zone 60 A 1.2.3.4")]


def test_reverse_pointers_go_with_the_name_they_point_to() -> None:
    lines = {
        "imac": f"1.{REST} 60 PTR imac.bob.members.example.",
        "gone": f"2.{REST} 60 PTR gone.bob.members.example.",
        "elsewhere": f"3.{REST} 60 PTR printer.lan.example.",
        "server": f"4.{REST} 60 PTR zone.bob.members.example.",
    }
    pointers = [Record.from_text(line.replace(". 60", " 60"), REVERSE) for line in lines.values()]
    (removal,) = sweep.reverse_removals(ZONE, REVERSE, pointers, FORWARD)
    assert removal.records == (pointers[1],)
    assert str(removal.message.question[0].name) == str(REVERSE)
    assert "gone.bob.members.example." in removal.what
