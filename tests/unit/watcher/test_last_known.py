# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of last known answers: it says what the zone said, and nothing that somebody else wrote into its file."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import dns.rrset
import dns.tsig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher import last_known
from watcher.last_known import FILE, MAX_AGE_S, MAX_SETS, MAX_TEXT, LastKnown

if TYPE_CHECKING:
    from pathlib import Path

    from dns.message import Message

    from watcher.config import Config

ZONE = "bob.members.example."
AN_HOUR = 3600.0


def answer(name: str, kind: str, *texts: str, rcode: str = "NOERROR") -> Message:
    response = dns.message.make_response(dns.message.make_query(name, kind))
    response.set_rcode(dns.rcode.from_text(rcode))
    if texts:
        response.answer.append(dns.rrset.from_text(name, 120, "IN", kind, *texts))
    return response


def held(table: LastKnown, name: str, kind: str) -> list[str] | None:
    """Return what the table says of a name: None when it says nothing, empty when there is no such record."""
    found = table.answer(dns.message.make_query(name, kind))
    return None if found is None else sorted(str(rdata) for rrset in found.answer for rdata in rrset)


@pytest.fixture
def table(config: Config, tmp_path: Path) -> LastKnown:
    table = LastKnown(config, tmp_path)
    table.learn(answer(f"imac.{ZONE}", "AAAA", "fd12:3456:789a::2"))
    table.learn(answer(f"_autotunnel._udp.imac.{ZONE}", "SRV", f"10 0 41500 AutoTunnel-AA.{ZONE}"))
    table.learn(answer(f"_ssh._tcp.{ZONE}", "PTR", f"Bob's\\032iMac._ssh._tcp.{ZONE}", f"mini._ssh._tcp.{ZONE}"))
    return table


def reread(config: Config, tmp_path: Path, **more: Any) -> LastKnown:
    table = LastKnown(config, tmp_path, **more)
    table.load()
    return table


def test_the_key_is_derived_as_rfc_5869_says() -> None:
    """Test case 3 of RFC 5869, appendix A.3: the first 32 octets of its OKM."""
    okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert last_known.hkdf(b"\x0b" * 22, b"").hex() == okm


def test_what_was_said_is_said_again_after_a_restart(table: LastKnown, config: Config, tmp_path: Path) -> None:
    table.save()
    again = reread(config, tmp_path)
    assert held(again, f"IMAC.{ZONE}", "AAAA") == ["fd12:3456:789a::2"]
    assert held(again, f"_ssh._tcp.{ZONE}", "PTR") == [f"Bob's\\032iMac._ssh._tcp.{ZONE}", f"mini._ssh._tcp.{ZONE}"]
    assert not again.changed


def test_of_a_known_name_other_types_do_not_exist_and_of_others_nothing_is_known(table: LastKnown) -> None:
    assert held(table, f"imac.{ZONE}", "A") == []
    assert held(table, f"mini.{ZONE}", "AAAA") is None


def test_what_is_gone_is_forgotten(table: LastKnown) -> None:
    table.learn(answer(f"imac.{ZONE}", "AAAA", rcode="NXDOMAIN"))
    assert held(table, f"imac.{ZONE}", "AAAA") is None
    table.learn(answer(f"_ssh._tcp.{ZONE}", "PTR"))
    assert held(table, f"_ssh._tcp.{ZONE}", "PTR") == []


def test_that_there_is_nothing_is_known_of_services_but_not_of_addresses(table: LastKnown) -> None:
    table.learn(answer(f"_kerberos.imac.{ZONE}", "TXT", rcode="NXDOMAIN"))
    table.learn(answer(f"imca.{ZONE}", "AAAA", rcode="NXDOMAIN"))
    assert held(table, f"_kerberos.imac.{ZONE}", "TXT") == []
    assert held(table, f"imca.{ZONE}", "AAAA") is None


def test_what_nobody_has_displaces_nothing(config: Config, table: LastKnown) -> None:
    """Any program of the host may ask for any name, and send packets to any address of the /48."""
    before = len(table)
    for number in range(MAX_SETS + 10):
        table.learn(answer(f"x{number}.{ZONE}", "TXT", rcode="NXDOMAIN"))
        table.learn(answer(f"{number}.{config.reverse_zone}", "PTR", rcode="NXDOMAIN"))
    assert len(table) == before + last_known.MAX_EMPTY
    assert held(table, f"x{MAX_SETS}.{ZONE}", "TXT") == []
    assert held(table, f"imac.{ZONE}", "AAAA") == ["fd12:3456:789a::2"]


def test_a_failure_teaches_nothing(table: LastKnown) -> None:
    table.learn(answer(f"imac.{ZONE}", "AAAA", rcode="SERVFAIL"))
    assert held(table, f"imac.{ZONE}", "AAAA") == ["fd12:3456:789a::2"]


def test_the_same_answer_in_another_order_is_nothing_new(table: LastKnown) -> None:
    table.save()
    table.learn(answer(f"_ssh._tcp.{ZONE}", "PTR", f"mini._ssh._tcp.{ZONE}", f"Bob's\\032iMac._ssh._tcp.{ZONE}"))
    assert not table.changed


def refused(config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture, **more: Any) -> str:
    """Return why the table in the file is not taken."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert len(reread(config, tmp_path, **more)) == 0
    (record,) = caplog.records
    return record.getMessage()


def test_only_this_hosts_own_table_counts(
    table: LastKnown, config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table.save()
    key = dns.tsig.Key(config.key.name, b"another secret of 32 octets here")
    assert "signature" in refused(dataclasses.replace(config, key=key), tmp_path, caplog)
    host = dataclasses.replace(config.host, label="imac")
    assert "another host's" in refused(dataclasses.replace(config, host=host), tmp_path, caplog)


def test_an_old_table_is_not_used(
    table: LastKnown, config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table.save()
    written = json.loads((tmp_path / FILE).read_text())["table"]["written"]
    assert len(reread(config, tmp_path, clock=lambda: written + MAX_AGE_S - AN_HOUR)) == 3
    assert "30 days" in refused(config, tmp_path, caplog, clock=lambda: written + MAX_AGE_S + AN_HOUR)


def test_a_set_that_nobody_saw_for_long_goes_alone(config: Config, tmp_path: Path) -> None:
    times = [1e9]
    table = LastKnown(config, tmp_path, lambda: times[0])
    table.learn(answer(f"old.{ZONE}", "AAAA", "fd12:3456:789a::9"))
    times[0] += MAX_AGE_S - AN_HOUR
    table.learn(answer(f"imac.{ZONE}", "AAAA", "fd12:3456:789a::2"))
    table.save()
    later = reread(config, tmp_path, clock=lambda: times[0] + 2 * AN_HOUR)
    assert held(later, f"old.{ZONE}", "AAAA") is None
    assert held(later, f"imac.{ZONE}", "AAAA")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), octet=st.integers(1, 255))
def test_one_changed_octet_changes_no_answer(
    table: LastKnown, config: Config, tmp_path: Path, where: float, octet: int
) -> None:
    table.changed = True
    table.save()
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= octet
    path.write_bytes(content)
    again = reread(config, tmp_path)
    # Between the tokens of JSON an octet may be another blank: then it is still the same table.
    assert len(again) in {0, 3}
    assert held(again, f"imac.{ZONE}", "AAAA") in (None, ["fd12:3456:789a::2"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(content=st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_other_content_is_ignored(config: Config, tmp_path: Path, content: bytes | str) -> None:
    (tmp_path / FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert len(reread(config, tmp_path)) == 0


def test_a_file_that_is_too_large_is_not_even_read(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (tmp_path / FILE).open("wb") as stream:
        stream.truncate(1 << 40)
    assert "octets" in refused(config, tmp_path, caplog)


def test_it_is_bounded_and_the_oldest_goes_first(config: Config, tmp_path: Path) -> None:
    table = LastKnown(config, tmp_path)
    for number in range(MAX_SETS + 10):
        table.learn(answer(f"h{number}.{ZONE}", "AAAA", "fd12:3456:789a::2"))
    assert len(table) == MAX_SETS
    assert held(table, f"h9.{ZONE}", "AAAA") is None
    assert held(table, f"h10.{ZONE}", "AAAA")
    table.save()
    assert (tmp_path / FILE).stat().st_size < last_known.MAX_OCTETS
    assert len(reread(config, tmp_path)) == MAX_SETS


def test_large_sets_push_others_out(config: Config, tmp_path: Path) -> None:
    table = LastKnown(config, tmp_path)
    strings = ['"' + f"{number:03d}" * 80 + '"' for number in range(200)]
    for number in range(2 * MAX_TEXT // (200 * 242)):
        table.learn(answer(f"h{number}.{ZONE}", "TXT", *strings))
    assert 0 < len(table) <= MAX_TEXT // (200 * 242)
    table.save()
    assert (tmp_path / FILE).stat().st_size < last_known.MAX_OCTETS


def test_a_disk_that_takes_nothing_costs_a_line(
    table: LastKnown, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()
    table.save()
    assert "is not written" in caplog.text
    assert held(table, f"imac.{ZONE}", "AAAA")
