# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin as Ansible loads it, in a process of its own, against a primary in a thread that plays the stub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.rcode
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bind, names

from tests.unit.primary import SECRET, Primary, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
KEY = dns.tsig.Key("macbook.bob.members.example.", SECRET, "hmac-sha256")
FLEET = [
    "_services._dns-sd._udp 4500 PTR _ssh._tcp",
    "_services._dns-sd._udp 4500 PTR _a-b._udp",
    "_ssh._tcp 4500 PTR Bob's\\032iMac._ssh._tcp",
    "_ssh._tcp 4500 PTR mini._ssh._tcp",
    "_ssh._tcp 4500 PTR ghost._ssh._tcp",
    "_a-b._udp 4500 PTR mini._a-b._udp",
    "Bob's\\032iMac._ssh._tcp 120 SRV 0 0 2222 imac",
    "mini._ssh._tcp 120 SRV 0 0 22 mini",
    "mini._a-b._udp 120 SRV 0 0 9 mini",
    'mini._a-b._udp 4500 TXT "note={{ 6 * 7 }}"',
    "imac 120 AAAA fd12:3456:789a::1",
    "mini 120 AAAA fd12:3456:789a::2",
    "Bob's\\032iMac._device-info._tcp 4500 TXT model=iMac4,1",
]
PROGRAM = """
import json, sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible_collections.btmm.fleet.plugins.inventory import dnssd
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
dnssd.STUB_PORT = int(sys.argv[2])
dnssd.local_names.stub_address = lambda zone: "127.0.0.1"
manager = InventoryManager(DataLoader(), sources=[sys.argv[1]], cache="--flush-cache" not in sys.argv)
print(json.dumps({
    "hosts": {host.name: {k: v for k, v in host.vars.items() if k[:4] != "inve"} for host in manager.get_hosts()},
    "groups": {name: sorted(map(str, group.get_hosts())) for name, group in manager.groups.items()},
}))
"""


class Setting:
    """A configuration file, and what Ansible makes of it."""

    def __init__(self, directory: Path, primary: Primary) -> None:
        self.directory = directory
        self.primary = primary
        self.path = directory / "fleet.btmm.yml"
        (directory / "macbook.key").write_text(bind.key_conf(KEY.name, SECRET))
        (directory / "secret").write_text(SECRET + "\n")

    def run(self, *arguments: str, **options: Any) -> tuple[dict[str, Any], str]:
        """Return hosts and groups, and the warnings as one line."""
        given = {"plugin": "btmm.fleet.dnssd", "zone": "bob.members.example", "key_file": self.key("macbook.key")}
        lines = [f"{name}: {json.dumps(value)}" for name, value in {**given, "timeout": 2, **options}.items()]
        self.path.write_text("\n".join(lines))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(self.path), str(self.primary.port), *arguments],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "1000", "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout.splitlines()[-1]), " ".join(done.stderr.split())

    def key(self, name: str) -> str:
        return str(self.directory / name)


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    with serving(Primary(names.parse_zone("bob.members.example"), FLEET, KEY)) as primary:
        yield Setting(tmp_path, primary)


def test_hosts_groups_and_variables(setting: Setting) -> None:
    found, warned = setting.run()
    assert found["hosts"].keys() == {"imac", "mini"}
    assert found["groups"]["ssh_tcp"] == ["imac", "mini"]
    assert found["groups"]["a_b_udp"] == ["mini"]
    assert found["hosts"]["imac"] == {
        "ansible_host": "imac.bob.members.example",
        "ansible_port": 2222,
        "btmm_label": "imac",
        "btmm_model": "iMac4,1",
        "btmm_name": "imac.bob.members.example",
        "btmm_realm": None,
        "btmm_services": [{"type": "_ssh._tcp", "port": 2222, "txt": []}],
        "btmm_title": "Bob's iMac",
        "btmm_ula": None,  # a stub would open a tunnel to answer
        "btmm_zone": "bob.members.example",
    }
    mini = found["hosts"]["mini"]
    assert "ansible_port" not in mini
    # What strangers write is data, never a template.
    assert mini["btmm_services"][0]["txt"] == ["note={{ 6 * 7 }}"]
    assert "left out: ghost._ssh._tcp.bob.members.example. has no SRV" in warned


def test_addresses_names_and_constructed_groups(setting: Setting) -> None:
    found, _ = setting.run(
        ansible_host="ula",
        inventory_name="name",
        keyed_groups=[{"key": "btmm_model", "prefix": "model"}],
        groups={"remote": "btmm_title is search('Bob')"},
        compose={"ansible_user": "'root'"},
    )
    imac = found["hosts"]["imac.bob.members.example"]
    assert (imac["ansible_host"], imac["btmm_ula"], imac["ansible_user"]) == (*["fd12:3456:789a::1"] * 2, "root")
    assert found["groups"]["model_iMac4_1"] == found["groups"]["remote"] == ["imac.bob.members.example"]


def test_a_secret_alone_needs_the_name_of_its_key(setting: Setting) -> None:
    found, _ = setting.run(key_file=setting.key("secret"), key_name="macbook.bob.members.example")
    assert len(found["hosts"]) == 2
    assert "not a key statement" in setting.run(key_file=setting.key("secret"))[1]


def test_the_cache_answers_until_it_is_flushed(setting: Setting) -> None:
    caching = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(setting.directory)}
    first, _ = setting.run(**caching)
    setting.primary.rcode = dns.rcode.REFUSED
    again, warned = setting.run(**caching)
    assert again == first
    assert "REFUSED" not in warned
    assert "REFUSED" in setting.run("--flush-cache", **caching)[1]


def test_strict_stops_at_what_cannot_be_composed(setting: Setting) -> None:
    wrong = {"compose": {"x": "no_such_variable"}}
    assert len(setting.run(**wrong)[0]["hosts"]) == 2
    assert "no_such_variable" in setting.run(strict=True, **wrong)[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"zone": "bob"}, "zone 'bob' is not a domain: "),
        ({"zone": "other.example"}, "127.0.0.1 port .* has no zone with 'other.example.': "),
        ({"key_file": "no.key"}, "there is no key file .*/no.key"),
        ({"key_file": "no.key", "key_name": "x"}, "the key file .*/no.key cannot be read: No such file"),
        ({"key_file": None, "key_name": "x"}, "the key x has no secret: give key_file"),
        ({"server": "127.0.0.1", "port": 1}, "127.0.0.1 port 1 cannot be reached .*: check address"),
    ],
)
def test_what_is_wrong_is_one_sentence(setting: Setting, options: dict[str, Any], sentence: str) -> None:
    if options.get("key_file"):
        options = {**options, "key_file": setting.key(options["key_file"])}
    found, warned = setting.run(**options)
    assert not found["hosts"]
    assert re.search(rf"fleet\.btmm\.yml: .*{sentence}", warned), warned


def test_only_files_of_the_plugin_are_taken(tmp_path: Path, setting: Setting) -> None:
    setting.path = tmp_path / "fleet.yml"
    assert not setting.run()[0]["hosts"]
