# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, policy, records
from ansible_collections.btmm.fleet.plugins.module_utils.ownership import records_of
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

ZONE = names.parse_zone("bob.members.example")


def published(label: str, number: int, *types: str, title: str | None = None) -> tuple[Record, ...]:
    host = records.host_from_config(
        {
            "zone": "bob.members.example",
            "label": label,
            "title": title,
            "ula": f"fd12:3456:789a::{number}",
            "model": "Mac",
            "services": [{"type": kind, "port": 80} for kind in types],
        }
    )
    return (*records.host_records(host, policy.EVERYWHERE), records.reverse_record(host))


INFRASTRUCTURE = tuple(
    Record.from_text(text, ZONE)
    for text in (
        "@ 60 SOA zone hostmaster 1 2 3 4 5",
        "@ 60 NS zone",
        "zone 60 A 1.2.3.4",
        "_dns-update-tls._tcp 60 SRV 0 0 853 zone",
    )
)
IMAC = published("imac", 1, "ssh", "http", title="Bob's iMac")
MINI = published("mini", 2, "ssh")
CONTENT = tuple(dict.fromkeys((*INFRASTRUCTURE, *IMAC, *MINI)))


def test_a_host_is_found_whole_and_alone() -> None:
    enumeration = Record.from_text("_services._dns-sd._udp 4500 PTR _ssh._tcp", ZONE)
    assert set(records_of("mini", ZONE, CONTENT)) == set(MINI) - {enumeration}
    assert set(records_of("imac", ZONE, CONTENT)) == set(IMAC) - {enumeration}


def test_the_last_host_of_a_type_takes_it_from_the_enumeration() -> None:
    rest = [record for record in CONTENT if record not in records_of("imac", ZONE, CONTENT)]
    assert set(records_of("mini", ZONE, rest)) == set(MINI)
    assert set(rest) - set(MINI) == set(INFRASTRUCTURE)


def test_a_host_that_is_not_there_has_nothing() -> None:
    assert records_of("macbook", ZONE, CONTENT) == ()


@pytest.mark.parametrize("target", ["mini", "AutoTunnel-00-00-00-00-00-00-00-02", "zone", "@"])
def test_a_tunnel_that_points_to_a_foreign_name_takes_nothing_of_it_along(target: str) -> None:
    forged = Record.from_text(f"_autotunnel._udp.evil 120 SRV 0 0 1 {target}", ZONE)
    assert set(records_of("evil", ZONE, (*CONTENT, forged))) == {forged}


def test_the_server_is_no_host_of_the_fleet() -> None:
    assert records_of("zone", ZONE, CONTENT) == ()
