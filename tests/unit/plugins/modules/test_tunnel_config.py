# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of both programs, in a folder of our own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import racoon_grammar, racoon_setkey
from ansible_collections.btmm.fleet.plugins.modules import tunnel_config

from tests.unit.running import run_module

HOST = {
    "identity": "imac.bob.example",
    "ula": "fd12:3456:789a::1",
    "prefix": "fd12:3456:789a::/48",
    "certificate": "imac.pem",
    "authority": "ca.pem",
}
MACBOOK = {"identity": "macbook.bob.example", "ula": "fd12:3456:789a::2", "address": "203.0.113.131", "port": 41500}
IPHONE = {"identity": "iphone.bob.example", "ula": "fd12:3456:789a::3"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    return partial(run_module, tunnel_config.main, capsys=capsys)


@pytest.fixture
def strongswan(tmp_path: Path) -> dict[str, Any]:
    return {**HOST, "name": "btmm-in", "path": str(tmp_path / "btmm.conf")}


@pytest.fixture
def racoon(tmp_path: Path) -> dict[str, Any]:
    for name in ("imac.pem", "imac.key", "ca.pem"):
        (tmp_path / name).touch()
    return {
        **HOST,
        "backend": "racoon",
        "system": "bsd",
        "key": "imac.key",
        "directory": str(tmp_path),
        "outer": ["192.0.2.1"],
        "peers": [MACBOOK, IPHONE],
        "path": str(tmp_path / "racoon.conf"),
        "policy_path": str(tmp_path / "setkey.conf"),
    }


def test_strongswan_there_and_back(run: Any, strongswan: dict[str, Any]) -> None:
    path = Path(strongswan["path"])
    dry = run(strongswan, check=True)
    assert dry["changed_files"] == [str(path)]
    assert not path.exists()
    done = run(strongswan)
    assert done["diff"] == dry["diff"]
    assert path.read_text() == done["diff"][0]["after"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert "remote_addrs = %any" in path.read_text()
    assert not run(strongswan)["changed"]
    assert run({**strongswan, "idle": 60})["changed"]
    absent = {"path": str(path), "state": "absent"}
    assert run(absent, check=True)["changed"]
    assert path.exists()
    assert run(absent)["changed"]
    assert not path.exists()
    assert not run(absent)["changed"]


def test_strongswan_with_a_peer_that_has_racoon(run: Any, strongswan: dict[str, Any]) -> None:
    run({**strongswan, "peers": [{**MACBOOK, "ike_version": 1}, {**IPHONE, "ike_version": 1}]})
    _, _, calls = Path(strongswan["path"]).read_text().partition("btmm-in-macbook_bob_example {")
    macbook, _, iphone = calls.partition("btmm-in-iphone_bob_example {")
    for text in (macbook, iphone):
        assert "version = 1" in text
        assert "esp_proposals = aes256-sha512-modp2048" in text
    assert "remote_port = 41500" in macbook
    assert "remote_addrs = %any" in iphone


def test_racoon_there_and_back(run: Any, racoon: dict[str, Any]) -> None:
    done = run(racoon)
    assert done["changed_files"] == [racoon["path"], racoon["policy_path"]]
    racoon_grammar.check(Path(racoon["path"]).read_text())
    policies = Path(racoon["policy_path"]).read_text()
    racoon_setkey.check(policies)
    assert policies.count("spdadd") == 2
    assert not run(racoon)["changed"]
    # A peer that goes: its policies are deleted, and no file is left with them.
    assert run({**racoon, "peers": [IPHONE]})["policy_changes"].count("spddelete") == 2
    gone = run({**racoon, "state": "absent"})
    assert gone["changed_files"] == [racoon["path"], racoon["policy_path"]]
    assert not Path(racoon["path"]).exists()


def test_anothers_racoon_conf_is_left_alone(run: Any, racoon: dict[str, Any]) -> None:
    path = Path(racoon["path"])
    path.write_text("# the administrator's\n")
    assert f"{path} is another program's: move it away first" in run(racoon)["msg"]
    assert not run({**racoon, "state": "absent"})["changed"]
    assert path.read_text() == "# the administrator's\n"


def test_racoons_key_must_be_there(run: Any, racoon: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "imac.key").unlink()
    assert run(racoon, check=True)["changed"]
    result = run(racoon)
    assert result["failed"]
    assert f"there is no file {tmp_path}/imac.key" in result["msg"]
    assert not Path(racoon["path"]).exists()


def test_strongswan_with_a_peer_that_is_always_called(run: Any, strongswan: dict[str, Any]) -> None:
    run({**strongswan, "peers": [{**MACBOOK, "start": "start"}]})
    inbound, _, macbook = Path(strongswan["path"]).read_text().partition("btmm-in-macbook_bob_example {")
    for ends, text in (("none", inbound), ("start", macbook)):
        assert f"start_action = {ends}" in text
    for kept in ("keyingtries = 0", "dpd_action = restart", "close_action = start", "inactivity = 0s"):
        assert kept in macbook
        assert kept not in inbound


def test_strongswan_with_own_proposals(run: Any, strongswan: dict[str, Any]) -> None:
    run({**strongswan, "ike_proposals": ["aes256-sha256-modp2048"], "esp_proposals": ["aes256-sha512"]})
    text = Path(strongswan["path"]).read_text()
    assert " proposals = aes256-sha256-modp2048\n" in text
    assert " esp_proposals = aes256-sha512\n" in text


def test_strongswan_with_weak_proposals(run: Any, strongswan: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text: warnings.append(text))
    weak = {**strongswan, "ike_proposals": ["3des-sha1-modp1024"], "esp_proposals": ["aes128-md5"]}
    refused = run(weak)
    assert "3des, sha1, modp1024, md5 in its proposals can be broken today: take others, or ask" in refused["msg"]
    assert not Path(strongswan["path"]).exists()
    assert run({**weak, "weak": True})["changed"]
    assert warnings == ["imac.bob.example: 3des, sha1, modp1024, md5 in its proposals can be broken today"]


def test_strongswan_with_ml_kem(run: Any, strongswan: dict[str, Any]) -> None:
    run({**strongswan, "algorithms": ["CURVE_25519", "ML_KEM_768"]})
    assert " proposals = aes256gcm16-prfsha384-x25519-ke1_mlkem768," in Path(strongswan["path"]).read_text()


def test_back_to_my_mac_there_and_back(
    run: Any, racoon: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text: warnings.append(text))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "work.conf").write_text("remote anonymous { }\n")  # another program's
    original = {**HOST, "backend": "back_to_my_mac", "path": str(folder), "peers": [MACBOOK, IPHONE], "weak": True}
    done = run(original)
    assert done["changed_files"] == [str(folder / name) for name in ("anonymous.conf", "203.0.113.131.41500.conf")]
    assert "imac.bob.example: aggressive mode with a shared secret and group 2 can be broken" in warnings[0]
    assert not run(original)["changed"]
    assert run({**original, "peers": []})["changed_files"] == [str(folder / "203.0.113.131.41500.conf")]
    absent = {"backend": "back_to_my_mac", "path": str(folder), "state": "absent"}
    assert run(absent)["changed_files"] == [str(folder / "anonymous.conf")]
    assert [path.name for path in folder.iterdir()] == ["work.conf"]
    assert not run(absent)["changed"]
    (folder / "anonymous.conf").write_text("remote anonymous { }\n")
    assert "another program's" in run(original)["msg"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"system": "linux"}, "take strongSwan, or IPv6 outside"),
        ({"policy_path": None}, "needs policy_path"),
        ({"outer": []}, "needs outer"),
        ({"outer": ["2001:db8::1"]}, "no outer address of the family"),
        (
            {"peers": [MACBOOK, {**IPHONE, "address": "203.0.113.131", "port": 41500}]},
            "both have 203.0.113.131 port 41500",
        ),
        ({"ula": "fd00::1"}, "not in fd12:3456:789a::/48"),
        ({"ula": "imac"}, "imac.bob.example has the ULA 'imac', which is none"),
        ({"prefix": "fd12:3456:789a::1/48"}, "has the /48 'fd12:3456:789a::1/48', which is none"),
        ({"peers": [{**MACBOOK, "address": "macbook"}]}, "macbook.bob.example has the outer address 'macbook'"),
        ({"outer": ["192.0.2.1", "192.0.2.1"]}, "already on line"),
        ({"backend": "back_to_my_mac"}, "ask for the weak ones"),
        ({"identity": None}, "identity"),
        ({"backend": "strongswan"}, "needs name"),
        ({"backend": "strongswan", "name": "a.b", "peers": []}, "connection's name"),
        ({"backend": "strongswan", "name": "a"}, "iphone.bob.example only calls"),
        ({"ike_proposals": ["aes256-sha256-modp2048"]}, "esp_proposals"),
        ({"path": "/nonexistent/racoon.conf"}, "no access to /nonexistent"),
    ],
)
def test_errors(run: Any, racoon: dict[str, Any], changed: dict[str, Any], said: str) -> None:
    result = run({**racoon, **changed})
    assert result["failed"]
    assert said in result["msg"]
    assert not Path(racoon["path"]).exists()
