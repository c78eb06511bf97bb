# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import dns.tsig
import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import bind, names
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
from ansible_collections.btmm.fleet.plugins.modules import dns_record_set

from tests.unit.primary import SECRET, Primary, serving
from tests.unit.running import run_module

if TYPE_CHECKING:
    from pathlib import Path

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")
Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def primary() -> Iterator[Primary]:
    with serving(Primary(ZONE, ["_ssh._tcp 4500 PTR a._ssh._tcp", "gone 60 A 192.0.2.9"], KEY)) as started:
        yield started


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, primary: Primary) -> Runner:
    (tmp_path / "key").write_text(bind.key_conf(KEY.name, SECRET))

    def runner(*sets: dict[str, Any], check: bool = False, **arguments: object) -> dict[str, Any]:
        base = {"zone": "bob.members.example", "port": primary.port, "timeout": 2, "retries": 0}
        if "key_name" not in arguments:
            base["key_file"] = str(tmp_path / "key")
        return run_module(dns_record_set.main, {**base, "record_sets": list(sets), **arguments}, capsys, check=check)

    return runner


SETS: list[dict[str, Any]] = [
    {"name": "_ssh._tcp", "type": "PTR", "ttl": 4500, "mode": "merge", "rdata": [r"Bob's\032iMac._ssh._tcp"]},
    {"name": "gone", "type": "A", "state": "absent"},
    {"name": "new", "type": "A", "ttl": 60, "rdata": ["192.0.2.1"]},
]


def test_several_sets_are_one_message_and_a_second_run_sends_none(run: Runner, primary: Primary) -> None:
    result = run(*SETS)
    assert result["changed"]
    assert len(primary.updates) == 1
    assert primary.text() == {
        "_ssh._tcp 4500 PTR a._ssh._tcp",
        r"_ssh._tcp 4500 PTR Bob's\032iMac._ssh._tcp",
        "new 60 A 192.0.2.1",
    }
    assert not run(*SETS)["changed"]
    assert len(primary.updates) == 1


def test_check_mode_reads_and_shows_zone_file_text(run: Runner, primary: Primary) -> None:
    result = run(*SETS, check=True)
    assert result["changed"]
    assert not primary.updates
    assert result["diff"]["before"] == (
        "_ssh._tcp.bob.members.example. 4500 IN PTR a._ssh._tcp.bob.members.example.\n"
        "gone.bob.members.example. 60 IN A 192.0.2.9\n"
    )
    assert result["diff"]["after"] == (
        "_ssh._tcp.bob.members.example. 4500 IN PTR Bob's\\032iMac._ssh._tcp.bob.members.example.\n"
        "_ssh._tcp.bob.members.example. 4500 IN PTR a._ssh._tcp.bob.members.example.\n"
        "new.bob.members.example. 60 IN A 192.0.2.1\n"
    )


def test_the_key_may_be_given_as_options(run: Runner, primary: Primary) -> None:
    assert run(SETS[2], key_name=KEY.name.to_text(), key_secret=SECRET)["changed"]
    assert len(primary.updates) == 1


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"key_name": "x", "key_secret": "***"}, "TSIG key cannot be used"),
        ({"key_name": "x", "key_secret": SECRET, "key_algorithm": "rot13"}, "must be one of: hmac-sha256"),
        ({"key_file": "/does/not/exist"}, "no key file"),
        ({"zone": "bob"}, "not a domain"),
        ({"port": 1}, "cannot be reached"),
        ({"tls": {}}, "no TLS that can be trusted"),
    ],
)
def test_bad_input_is_one_sentence(run: Runner, arguments: dict[str, Any], cause: str) -> None:
    result = run(SETS[2], **arguments)
    assert result["failed"]
    assert cause in result["msg"]
    assert SECRET not in str(result)


def test_a_refusal_is_one_sentence(run: Runner, primary: Primary) -> None:
    primary.rcode = dns.rcode.REFUSED
    assert "REFUSED" in run(SETS[2])["msg"]


def test_in_check_mode_a_server_to_come_counts_as_empty(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text: warnings.append(text))
    for arguments in ({"port": 1}, {"key_file": "/does/not/exist"}):
        result = run(SETS[2], check=True, **arguments)
        assert result["changed"]
        assert result["diff"]["before"] == ""
    assert len(warnings) == 2


def test_without_a_zone_the_server_is_asked(run: Runner, primary: Primary) -> None:
    absolute = [{**each, "name": f"{each['name']}.bob.members.example."} for each in SETS]
    assert run(*absolute, zone=None)["changed"]
    assert "new 60 A 192.0.2.1" in primary.text()
    assert not run(*absolute, zone=None)["changed"]


@pytest.mark.parametrize(
    ("name", "words"), [("new.example.org.", "no zone with 'new.example.org.'"), ("new", "must end in a dot")]
)
def test_a_zone_that_cannot_be_found_is_one_sentence(run: Runner, name: str, words: str) -> None:
    assert words in run({**SETS[2], "name": name}, zone=None)["msg"]


def test_a_set_that_changes_in_between_is_read_again(run: Runner, primary: Primary) -> None:
    def overtake(_: dns.message.Message) -> None:
        primary.before_update = None
        primary.records.append(Record.from_text("new 60 A 192.0.2.77", ZONE))

    primary.before_update = overtake
    result = run(SETS[2])
    assert result["changed"]
    assert len(primary.updates) == 2
    assert [line for line in primary.text() if line.startswith("new")] == ["new 60 A 192.0.2.1"]


def test_a_race_without_end_is_a_failure(run: Runner, primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "judge", lambda _: dns.rcode.NXRRSET)
    assert "a prerequisite does not hold" in run(SETS[2])["msg"]
    assert len(primary.updates) == 4


@pytest.mark.parametrize(("algorithm", "octets"), [("hmac-sha256", 32), ("hmac-sha384", 48), ("hmac-sha512", 64)])
def test_algorithms(run: Runner, primary: Primary, algorithm: str, octets: int) -> None:
    primary.key = dns.tsig.Key(KEY.name, SECRET, algorithm)
    assert run(SETS[2], key_name=KEY.name.to_text(), key_secret=SECRET, key_algorithm=algorithm)["changed"]
    assert len(primary.updates[0].mac or b"") == octets


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "bücher"}, "xn-- form"),
        ({"type": "SRV", "rdata": ["0 0 22 bücher"]}, "xn-- form"),
        ({"type": "TXT", "rdata": ["x" * 256]}, "give several, each in double quotes"),
        ({"type": "TXT", "rdata": [" ".join(['"' + "x" * 255 + '"'] * 300)]}, "65000 fit"),
        ({"type": "ANY", "rdata": []}, "no type of stored records"),
        ({"name": "x" * 64}, "more than 63 octets"),
        ({"name": ".".join(["x" * 60] * 4)}, "more than 255 octets"),
        ({"rdata": ["192.0.2.1\n192.0.2.2"]}, "more than one line"),
    ],
)
def test_what_cannot_be_a_set_is_told(run: Runner, primary: Primary, options: dict[str, Any], words: str) -> None:
    result = run({**SETS[2], "state": "absent" if not options.get("rdata", [1]) else "present", **options})
    assert words in result["msg"]
    assert len(result["msg"]) < 300
    assert not primary.updates


def test_a_long_text_in_several_strings(run: Runner, primary: Primary) -> None:
    rdata = ['"' + "x" * 255 + '" "' + "y" * 10 + '"']
    assert run({"name": "dkim", "type": "TXT", "rdata": rdata})["changed"]
    assert not run({"name": "dkim", "type": "TXT", "rdata": rdata})["changed"]


def test_an_instance_may_be_any_text(run: Runner, primary: Primary) -> None:
    assert run({"name": r"Büro\032Süd._ssh._tcp", "type": "SRV", "rdata": ["0 0 22 imac"]})["changed"]
    assert any("B\\195\\188ro" in line for line in primary.text())


def test_the_wrong_clock_is_told_by_how_much(run: Runner, primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(wire: bytes) -> bytes:
        request = dns.message.from_wire(wire, keyring=KEY)
        response = dns.message.make_response(request)
        response.set_rcode(dns.rcode.NOTAUTH)
        clock = (int(time.time()) + 7200).to_bytes(6, "big")
        response.use_tsig(KEY, tsig_error=dns.rcode.BADTIME, other_data=clock)
        response.request_mac = request.mac or b""
        return response.to_wire()

    monkeypatch.setattr(primary, "answer", off)
    assert re.search(r"clock differs by 7(200|199) s \(behind\)", run(SETS[2])["msg"])
