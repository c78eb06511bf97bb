# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm status` and `btmm wait`: what they print and return for each state of the daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from watcher import cli, digest, places

if TYPE_CHECKING:
    from pathlib import Path

ZONE = "bob.members.example"
OTHER = "eve.members.example"
STATUS: dict[str, Any] = {
    "host": "imac.bob.members.example",
    "ula": "fd12:3456:789a::2",
    "outer": "203.0.113.101:41500",
    "mapping": {"method": "nat-pmp", "gateway": "192.168.10.1"},
    "published": {"time": "2026-11-21T08:00:00+00:00", "outer": "203.0.113.101:41500"},
    "names": "systemd-resolved on btmm-5f0c1a2b",
    "peers": [{"name": "mini.bob.members.example", "outer": "203.0.113.20:4500"}],
    "error": None,
    "final": False,
}


class Rig:
    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory, self.capture = directory, capture
        self.join(ZONE)

    @property
    def path(self) -> Path:
        return self.directory / "run" / ZONE / "status.json"

    def join(self, zone: str) -> None:
        for name in ("etc", "run"):
            (self.directory / name / zone).mkdir(parents=True)
        (self.directory / "etc" / zone / "watcher.json").touch()

    def run(self, *arguments: str, status: dict[str, Any] | None = None, zone: str = ZONE) -> tuple[int, str, str]:
        if status is not None:
            path = self.directory / "run" / zone / "status.json"
            path.write_text(json.dumps({"config": "c0ffee", **status}))
        code = cli.main(list(arguments))
        captured = self.capture.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rig:
    monkeypatch.setattr(places, "CONFIG_ROOT", tmp_path / "etc")
    monkeypatch.setattr(places, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(digest, "digest", lambda _: "c0ffee")
    return Rig(tmp_path, capsys)


def test_status_for_people(rig: Rig) -> None:
    code, out, _ = rig.run("status", status=STATUS)
    assert code == 0
    assert out.splitlines() == [
        "host      imac.bob.members.example  fd12:3456:789a::2",
        "outside   203.0.113.101:41500 (mapped by 192.168.10.1, nat-pmp)",
        "published 2026-11-21T08:00:00+00:00",
        "names     systemd-resolved on btmm-5f0c1a2b",
        "tunnel    mini.bob.members.example  203.0.113.20:4500",
    ]


def test_status_of_a_daemon_in_trouble(rig: Rig) -> None:
    code, out, _ = rig.run("status", status={"error": "imac: no route", "published": None, "outer": None})
    assert code == 1
    assert "outside   not reachable" in out
    assert "error     imac: no route" in out


def test_status_for_programs(rig: Rig) -> None:
    code, out, _ = rig.run("status", "--json", status=STATUS)
    assert code == 0
    assert json.loads(out)["outer"] == "203.0.113.101:41500"


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_no_daemon(rig: Rig, content: str | None) -> None:
    if content is not None:
        rig.path.write_text(content)
    code, _, err = rig.run("status")
    assert code == 3
    assert "does not run" in err
    code, _, err = rig.run("wait", "--timeout", "0")
    assert code == 1
    assert "does not run" in err


def test_wait_for_what_is_there(rig: Rig) -> None:
    assert rig.run("wait", "--timeout", "0", status=STATUS)[0] == 0


def test_wait_does_not_wait_for_what_no_repeat_mends(rig: Rig) -> None:
    status = {**STATUS, "published": None, "error": "imac: another secret: enrol again", "final": True}
    code, _, err = rig.run("wait", "--timeout", "60", status=status)
    assert (code, err) == (1, "imac: another secret: enrol again\n")


def test_wait_waits_for_what_may_pass(rig: Rig) -> None:
    status = {**STATUS, "published": None, "error": "imac: the zone server can't be reached", "final": False}
    code, _, err = rig.run("wait", "--timeout", "0.2", status=status)
    assert (code, err) == (1, "imac: the zone server can't be reached\n")


def test_wait_does_not_take_the_old_configurations_word(rig: Rig) -> None:
    code, _, err = rig.run("wait", "--timeout", "0.2", status={**STATUS, "config": "older"})
    assert code == 1
    assert "has not read its configuration again" in err


def test_published_but_names_do_not_work_is_no_success(rig: Rig) -> None:
    code, _, err = rig.run("wait", "--timeout", "0", status={**STATUS, "error": "imac: no TUN", "final": True})
    assert (code, err) == (1, "imac: no TUN\n")


def test_all_zones_of_the_host_are_told_or_one(rig: Rig) -> None:
    rig.join(OTHER)
    rig.run("status", status=STATUS)
    other = {**STATUS, "host": "laptop.eve.members.example", "error": "laptop: no route"}
    code, out, _ = rig.run("status", status=other, zone=OTHER)
    assert code == 1
    hosts = [line.split()[1] for line in out.splitlines() if line.startswith("host ")]
    assert hosts == ["imac.bob.members.example", "laptop.eve.members.example"]
    code, out, _ = rig.run("status", "--zone", "Bob.members.example.")
    assert (code, "laptop" in out) == (0, False)
    code, _, err = rig.run("wait", "--timeout", "0")
    assert (code, err) == (1, "laptop: no route\n")
    assert rig.run("wait", "--timeout", "0", "--zone", ZONE)[0] == 0


def test_a_zone_whose_daemon_does_not_run_is_named(rig: Rig) -> None:
    rig.join(OTHER)
    code, out, err = rig.run("status", status=STATUS)
    assert code == 3
    assert "imac.bob.members.example" in out
    assert f"systemctl status btmm-watcher@{OTHER}" in err


def test_a_host_of_no_zone(rig: Rig) -> None:
    (rig.directory / "etc" / ZONE / "watcher.json").unlink()
    code, _, err = rig.run("status")
    assert code == 3
    assert "it belongs to no zone" in err
