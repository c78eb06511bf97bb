# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from typing import Any

import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import hostset, names
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.session import Session

from tests.unit.primary import SECRET, Primary, serving

ZONE = names.parse_zone("bob.members.example")
PREFIX = IPv6Network("fd12:3456:789a::/48")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")
MINI: dict[str, Any] = {
    "name": "mini.lan",
    "label": "mini",
    "ula": "fd12:3456:789a::2",
    "services": [{"type": "ssh", "port": 22}],
    "endpoint": {"address": "203.0.113.20", "port": 4500},
}


@pytest.fixture
def primary() -> Iterator[Primary]:
    with serving(Primary(ZONE, ["@ 60 NS ns"], KEY)) as started:
        yield started


@pytest.fixture
def asking(primary: Primary) -> Iterator[Session]:
    with Session(lambda: Exchange(Server("127.0.0.1", primary.port, timeout_s=2), KEY), retries=0) as session:
        yield session


def test_a_host_is_published_in_both_zones(asking: Session, primary: Primary) -> None:
    results, messages = hostset.present(asking, ZONE, [MINI], prefix=PREFIX)
    assert messages == 2
    assert [str(update.zone[0].name) for update in primary.updates] == [  # type: ignore[attr-defined]
        "bob.members.example.",
        "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.",
    ]
    assert results["mini.lan"].changed
    assert results["mini.lan"].failure is None
    assert "mini 120 AAAA fd12:3456:789a::2" in primary.text()


def test_records_alone_leave_what_the_hosts_daemon_published(asking: Session, primary: Primary) -> None:
    hostset.present(asking, ZONE, [MINI])
    before = primary.text()
    results, messages = hostset.present(asking, ZONE, [{"label": "mini", "records": ["www 60 CNAME mini"]}])
    assert messages == 1
    assert results["mini"].changed
    assert primary.text() == before | {"www 60 CNAME mini"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"endpoint": None}, "neither an endpoint nor records"),
        ({"endpoint": {"address": "mini.example", "port": 4500}}, "is not an IP address"),
        ({"endpoint": {"address": "192.0.2.1", "port": 0}}, "port 0"),
        ({"ula": None}, "lacks ula"),
        ({"ula": "fd00::1"}, "is not in the fleet's fd12"),
        ({"label": "not a label"}, "host label"),
        ({"title": "x" * 64}, "64 octets"),
        ({"services": [{"type": "ssh", "port": 22, "txt": ["x" * 256]}]}, "256 octets"),
        ({"records": ["a.example. 60 A 192.0.2.1"]}, "not in zone"),
        ({"records": ["bücher 60 A 192.0.2.1"]}, "xn--"),
        ({"records": ["nothing"]}, "not a record"),
        ({"name": "other.lan"}, "listed twice"),
    ],
)
def test_a_wrong_description_is_one_hosts_failure(
    asking: Session, primary: Primary, wrong: dict[str, Any], words: str
) -> None:
    other = {**MINI, "name": "other.lan", "label": "other", "ula": "fd12:3456:789a::3"}
    results, _ = hostset.present(asking, ZONE, [other, {**MINI, **wrong}], prefix=PREFIX)
    name = wrong.get("name", "mini.lan")
    assert words in str(results[name].failure)
    assert "other 120 AAAA fd12:3456:789a::3" in primary.text()
    assert "mini 120 AAAA fd12:3456:789a::2" not in primary.text()


def test_a_host_is_taken_from_both_zones(asking: Session, primary: Primary) -> None:
    hostset.present(asking, ZONE, [MINI])
    results, messages = hostset.absent(asking, ZONE, ["mini", "nobody"], prefix=PREFIX)
    assert messages == 1  # the primary of this test keeps no reverse zone
    assert results["mini"].changed
    assert not results["nobody"].changed
    assert primary.text() == {"@ 60 NS ns"}
