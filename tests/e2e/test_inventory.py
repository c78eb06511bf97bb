# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone as inventory: the controller's Ansible, put where macbook is, with what macbook has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import proof
from tests.e2e.fleet import ROOT, Fleet
from tests.e2e.proof import FOLDER, ZONE

GRAPH = """\
@all:
  |--@ungrouped:
  |--@http_tcp:
  |  |--imac
  |  |--macbook
  |  |--mini
  |--@rfb_tcp:
  |  |--imac
  |--@smb_tcp:
  |  |--imac
  |--@ssh_tcp:
  |  |--imac
  |  |--mini
"""


class Macbook:
    """Ansible in macbook's network namespace."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        self.directory = directory
        self.path = directory / "fleet.btmm.yml"
        for name, source in (("ca.pem", f"/etc/swanctl/x509ca/btmm-{ZONE}.pem"), ("secret", f"{FOLDER}/tsig.secret")):
            (directory / name).write_text(fleet.on("macbook", "cat", source), encoding="utf-8")
        self.with_key = {
            "server": "203.0.113.10",
            "ca": str(directory / "ca.pem"),
            "key_file": str(directory / "secret"),
            "key_name": f"macbook.{ZONE}",
        }

    def inventory(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ansible-inventory on a configuration of the plugin."""
        given = {"plugin": "btmm.fleet.dnssd", "zone": ZONE, **options}
        self.path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in given.items()))
        return self.run("ansible-inventory", "-i", str(self.path), *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the controller there."""
        return subprocess.run(
            ["ip", "netns", "exec", f"btmm-{self.fleet.name}-macbook", *command],
            cwd=ROOT,
            env={**self.fleet.environment, "COLUMNS": "1000"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def untrusted(value: dict[str, Any]) -> Any:
    """Read what Ansible marks as no template: all that comes from the zone."""
    return value["__ansible_unsafe"] if value.keys() == {"__ansible_unsafe"} else value


@pytest.fixture
def macbook(fleet: Fleet, tmp_path: Path) -> Macbook:
    return Macbook(fleet, tmp_path)


def test_zone_and_key_are_enough(macbook: Macbook) -> None:
    done = macbook.inventory("--graph", **macbook.with_key)
    assert (done.stdout, done.stderr) == (GRAPH, "")


def test_on_a_host_of_the_fleet_the_zone_is_enough_and_no_tunnel_is_opened(macbook: Macbook) -> None:
    proof.drop_tunnels(macbook.fleet, "macbook", "imac", "mini")
    done = macbook.inventory("--graph")
    assert (done.stdout, done.stderr) == (GRAPH, "")
    assert not macbook.fleet.on("macbook", "swanctl", "--list-sas").strip()


def test_hosts_have_what_the_zone_tells_of_them(macbook: Macbook) -> None:
    options = {"ansible_host": "ula", "keyed_groups": [{"key": "btmm_model", "prefix": "model"}]}
    listed = json.loads(macbook.inventory("--list", **macbook.with_key, **options).stdout, object_hook=untrusted)
    imac = listed["_meta"]["hostvars"]["imac"]
    address = proof.ula(macbook.fleet, "imac")
    assert (imac["ansible_host"], imac["btmm_ula"], imac["btmm_name"]) == (address, address, f"imac.{ZONE}")
    assert (imac["btmm_title"], imac["btmm_model"], imac["btmm_zone"]) == ("Bob's iMac", "iMac4,1", ZONE)
    offered = {(each["type"], each["port"]) for each in imac["btmm_services"]}
    assert offered == {("_ssh._tcp", 22), ("_http._tcp", 80), ("_smb._tcp", 445), ("_rfb._tcp", 5900)}
    assert listed["model_iMac4_1"]["hosts"] == ["imac"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"zone": "other.example"}, r"203\.0\.113\.10 port 853 has no zone with 'other\.example\.': [^:]+\(REFUSED"),
        ({"key_name": f"mini.{ZONE}"}, rf"port 853 has another secret for the key mini\.{ZONE}\.: "),
        ({"key_name": f"nobody.{ZONE}"}, rf"port 853 does not know the key nobody\.{ZONE}\.: "),
        ({"key_file": None, "key_name": None}, r"port 853 .*\(REFUSED: or this key may not ask\)"),
        ({"server": "203.0.113.99", "timeout": 1}, r"203\.0\.113\.99 port 853 cannot be reached \(.*\): check address"),
        ({"ca": None}, r"203\.0\.113\.10 port 853 has no TLS that can be trusted .*: check ca"),
        ({"server_name": f"imac.{ZONE}"}, rf"imac\.{ZONE} port 853 has no TLS that can be trusted .*: check ca"),
    ],
)
def test_what_is_wrong_is_one_sentence(macbook: Macbook, options: dict[str, Any], sentence: str) -> None:
    done = macbook.inventory("--graph", **{**macbook.with_key, **options})
    said = " ".join(done.stderr.split())
    assert re.search(rf"fleet\.btmm\.yml: .*{sentence}", said), said
    assert "imac" not in done.stdout
