# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole command against a primary in a thread: what goes, what stays, and who was faster."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import dns.message
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bind, names, records
from ansible_collections.btmm.fleet.plugins.module_utils.lease import Trace
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
from ansible_collections.btmm.fleet.plugins.module_utils.update import host_update

from sweeper.cli import Sweeper, main
from tests.unit.primary import SECRET, Primary, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dns.name import Name
    from dns.rdatatype import RdataType

ZONE = names.parse_zone("bob.members.example")
REVERSE = names.parse_zone("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")
OUTER = records.Reach((records.Endpoint(IPv4Address("203.0.113.101"), 4500),))

REST = ["@ 60 NS zone", "zone 60 A 203.0.113.10", "_dns-update-tls._tcp 7200 SRV 0 0 853 zone"]


def host(label: str, number: int, *types: str) -> records.Host:
    return records.host_from_config(
        {
            "zone": "bob.members.example",
            "label": label,
            "title": f"Bob's {label}",
            "ula": f"fd12:3456:789a::{number}",
            "model": "Mac",
            "services": [{"type": kind, "port": 80} for kind in types],
        }
    )


IMAC, MINI, AIR = host("imac", 1, "ssh", "http"), host("mini", 2, "ssh"), host("air", 3, "ssh", "ipp")


def published(described: records.Host, age_s: float | None, lease_s: int = 7200) -> list[Record]:
    trace = None if age_s is None else Trace(datetime.now(UTC) - timedelta(seconds=age_s), lease_s)
    return [*records.host_records(described, OUTER, trace)]


class Zone:
    """The primary, and the command as the timer runs it."""

    def __init__(self, primary: Primary, key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.primary = primary
        self._key_file = key_file
        self._capsys = capsys

    def hold(self, *parts: list[Record]) -> None:
        self.primary.records += dict.fromkeys(record for part in parts for record in part)

    def add(self, *lines: str) -> None:
        self.primary.records += [Record.from_text(line, ZONE) for line in lines]

    def sweep(self, *more: str) -> list[str]:
        arguments = ["--zone=bob.members.example", "--prefix=fd12:3456:789a::/48", f"--key-file={self._key_file}"]
        assert main([*arguments, f"--port={self.primary.port}", *more]) == 0
        return self._capsys.readouterr().out.splitlines()

    @property
    def text(self) -> set[str]:
        return self.primary.text()


@pytest.fixture
def zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Zone]:
    path = tmp_path / "admin.key"
    path.write_text(bind.key_conf(KEY.name, SECRET))
    with serving(Primary(ZONE, REST, KEY)) as primary:
        yield Zone(primary, path, capsys)


def test_a_host_whose_lease_ran_out_goes_whole_and_alone(zone: Zone) -> None:
    zone.hold(published(MINI, 60))
    rest = zone.text
    zone.hold(published(IMAC, 7200 + 61))
    zone.primary.records = list(dict.fromkeys(zone.primary.records))
    printed = zone.sweep()
    assert printed[0].startswith("removed host imac.bob.members.example. (11 records): its lease of 7200 s ran out, ")
    assert printed[1:] == ["removed type _http._tcp.bob.members.example.: nobody offers it"]
    assert zone.text == rest
    assert not zone.sweep()


@pytest.mark.parametrize(
    ("age_s", "lease_s", "more", "goes"),
    [
        (7200 + 50, 7200, (), False),  # within the grace
        (7200 + 50, 7200, ("--grace=10",), True),
        (1800 + 50, 60, (), False),  # no lease is shorter than half an hour
        (1800 + 70, 60, (), True),
        (70, 60, ("--floor=30", "--grace=5"), True),
        (86400 + 70, 1 << 30, (), True),  # nor longer than a day
        (86400 - 70, 1 << 30, (), False),
    ],
)
def test_leases_have_limits_and_a_grace(
    zone: Zone, age_s: float, lease_s: int, more: tuple[str, ...], goes: bool
) -> None:
    zone.hold(published(MINI, 0), published(AIR, age_s, lease_s))
    assert any("removed host air" in line for line in zone.sweep(*more)) == goes


def test_hosts_without_a_trace_are_left_alone(zone: Zone) -> None:
    zone.hold(published(MINI, 0), published(IMAC, None))
    before = zone.text
    assert not zone.sweep()
    assert zone.text == before


@pytest.mark.parametrize(
    "trace", ['"lease=7200"', '"refreshed=yesterday" "lease=1"', '"refreshed=2999-01-01T00:00:00Z" "lease=60"']
)
def test_a_doubtful_trace_is_told_and_its_host_left_alone(zone: Zone, trace: str) -> None:
    zone.hold(published(MINI, 0), published(IMAC, None))
    zone.add(f"_lease.imac 120 TXT {trace}")
    before = zone.text
    told = zone.sweep()
    assert len(told) == 1
    assert told[0].startswith("_lease.imac.bob.members.example. is left alone: ")
    assert zone.text == before


def test_of_several_traces_the_latest_counts_and_all_must_still_be_there(zone: Zone) -> None:
    zone.hold(published(MINI, 0), published(IMAC, 9000), published(IMAC, 10)[-1:])
    assert not zone.sweep()
    zone.primary.records.pop()
    zone.hold(published(IMAC, 8000)[-1:])
    assert "removed host imac" in zone.sweep()[0]
    assert not any("imac" in line for line in zone.text)


def test_a_host_that_refreshes_meanwhile_is_left(zone: Zone) -> None:
    zone.hold(published(MINI, 0), published(IMAC, 9000))
    fresh = host_update(ZONE, published(IMAC, 0))

    def refresh(message: dns.message.Message) -> None:
        zone.primary.before_update = None
        zone.primary.apply(fresh)

    zone.primary.before_update = refresh
    printed = zone.sweep()
    assert printed == ["left host imac.bob.members.example. (11 records): it changed meanwhile"]
    assert {r.to_text() for r in published(IMAC, 0)} <= {r.to_text() for r in zone.primary.records}
    assert not zone.sweep()


def test_when_no_lease_runs_the_clock_is_suspected_first(zone: Zone) -> None:
    zone.hold(published(MINI, 9000), published(AIR, 10000))
    before = zone.text
    told = zone.sweep()
    assert len(told) == 1
    assert "2 leases ran out and none runs" in told[0]
    assert "clock" in told[0]
    assert zone.text == before
    assert len(zone.sweep("--all")) == 4  # two hosts, two types
    assert len(zone.text) == len(REST)


def test_pointers_that_lead_nowhere_go_and_good_ones_stay(zone: Zone) -> None:
    zone.hold(published(MINI, 0))
    zone.add("Printer._ipp._tcp 60 SRV 0 0 631 printer.lan.example.", "_ipp._tcp 60 PTR Printer._ipp._tcp")
    zone.add("_services._dns-sd._udp 60 PTR _ipp._tcp", "b._dns-sd._udp 60 PTR @", "lb._dns-sd._udp 60 PTR @")
    good = zone.text
    zone.add(
        "_ssh._tcp 60 PTR Ghost._ssh._tcp",
        "_ssh._tcp 60 PTR evil._ssh._tcp.attacker.example.",
        "_ssh._tcp 60 PTR mini",
        "_http._tcp 60 PTR Dead._http._tcp",
        "Dead._http._tcp 60 SRV 0 0 80 nobody",
        "_services._dns-sd._udp 60 PTR _http._tcp",
        "_services._dns-sd._udp 60 PTR _gone._tcp",
        "_services._dns-sd._udp 60 PTR attacker.example.",
    )
    printed = [line.replace(".bob.members.example.", "") for line in zone.sweep()]
    assert sorted(printed) == [
        "removed pointer _http._tcp to Dead._http._tcp: nobody has no address",
        "removed pointer _ssh._tcp to Ghost._ssh._tcp: there is no such instance",
        "removed pointer _ssh._tcp to evil._ssh._tcp.attacker.example.: that is no instance of the service in the zone",
        "removed pointer _ssh._tcp to mini: that is no instance of the service in the zone",
        "removed type _gone._tcp: nobody offers it",
        "removed type _http._tcp: nobody offers it",
        "removed type attacker.example.: nobody offers it",
    ]
    assert zone.text == good | {"Dead._http._tcp 60 SRV 0 0 80 nobody"}


@pytest.mark.parametrize(
    ("stray", "comes"),
    [
        (["_ssh._tcp 60 PTR New._ssh._tcp"], ["New._ssh._tcp 60 SRV 0 0 22 mini"]),
        (["_ssh._tcp 60 PTR New._ssh._tcp", "New._ssh._tcp 60 SRV 0 0 22 new"], ["new 60 AAAA fd12:3456:789a::9"]),
        (
            ["_services._dns-sd._udp 60 PTR _ipp._tcp"],
            ["_ipp._tcp 60 PTR P._ipp._tcp", "P._ipp._tcp 60 SRV 0 0 1 mini"],
        ),
    ],
)
def test_what_becomes_good_meanwhile_is_left(zone: Zone, stray: list[str], comes: list[str]) -> None:
    zone.hold(published(MINI, 0))
    zone.add(*stray)

    def come(message: dns.message.Message) -> None:
        zone.primary.before_update = None
        zone.add(*comes)

    zone.primary.before_update = come
    printed = zone.sweep()
    assert len(printed) == 1
    assert printed[0].startswith("left ")
    assert not zone.sweep()


def test_a_dry_run_says_it_and_does_nothing(zone: Zone) -> None:
    zone.hold(published(MINI, 0), published(AIR, 9000))
    zone.add("_ssh._tcp 60 PTR Ghost._ssh._tcp")
    before = zone.text
    planned = zone.sweep("--dry-run")
    assert not zone.primary.updates
    assert zone.text == before
    assert [line.replace("would remove", "removed") for line in planned] == zone.sweep()


def test_signatures_are_the_servers_business(zone: Zone) -> None:
    zone.hold(published(MINI, 0), published(AIR, 9000))
    zone.add("air 60 NSEC mini AAAA", "_lease.air 60 NSEC mini TXT")
    zone.sweep()
    assert not any("NSEC" in str(message) for message in zone.primary.updates)


class Exchange:
    """Both zones as they are read, and what is sent; the host comes back after that."""

    def __init__(self, pointer: Record, back: Record) -> None:
        self.contents = {REVERSE: [pointer], ZONE: published(MINI, 0)}
        self.back = back
        self.sent: list[str] = []

    def transfer(self, zone: Name) -> list[Record]:
        return self.contents[zone]

    def lookup(self, name: Name, kind: RdataType) -> list[Record]:
        return [self.back] if name == self.back.name else []

    def send(self, message: dns.message.Message) -> None:
        self.sent.append(str(message))


@pytest.mark.parametrize(("address", "returns"), [("fd12:3456:789a::1", True), ("fd12:3456:789a::99", False)])
def test_a_pointer_of_who_comes_back_is_put_back(
    address: str, returns: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange: Any = Exchange(records.reverse_record(IMAC), Record.from_text(f"imac 120 AAAA {address}", ZONE))
    given = Namespace(grace=60, floor=1800, all=False)
    Sweeper(exchange, ZONE, REVERSE, dry_run=False).run(given)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("removed pointer 1.0.0.0.")
    assert len(printed) == len(exchange.sent) == (2 if returns else 1)
    if returns:
        assert printed[1].endswith("ip6.arpa.: imac.bob.members.example. came back")
        assert "120 IN PTR imac.bob.members.example." in exchange.sent[1]


def test_what_cannot_be_done_is_one_sentence(zone: Zone, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--zone=bob.members.example", "--prefix=fd12:3456:789a::/48", f"--port={zone.primary.port}"]
    assert main([*arguments, f"--key-file={tmp_path / 'no.key'}"]) == 1
    assert "no.key" in capsys.readouterr().err
    (tmp_path / "odd.key").write_text("x")
    assert main([*arguments, f"--key-file={tmp_path / 'odd.key'}"]) == 1
    assert "not a key statement" in capsys.readouterr().err
    zone.primary.rcode = dns.rcode.REFUSED
    assert main([*arguments, f"--key-file={tmp_path / 'admin.key'}"]) == 1
    told = capsys.readouterr().err
    assert "127.0.0.1 port" in told
    assert len(told.splitlines()) == 1
