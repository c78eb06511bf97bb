# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dns.rcode
import dns.tsig
import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import bind, names
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
        base = {"zone": "bob.members.example", "port": primary.port, "timeout": 2}
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
        ({"key_name": "x", "key_secret": SECRET, "key_algorithm": "rot13"}, "unknown algorithm"),
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
