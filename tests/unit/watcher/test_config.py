# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration: what is right is read, what is wrong is one sentence that never holds the secret."""

from __future__ import annotations

import base64
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from watcher import config as config_module
from watcher.config import Server, is_peer_address
from watcher.digest import digest
from watcher.errors import ConfigError

from .conftest import SECRET, written

if TYPE_CHECKING:
    from pathlib import Path


def test_a_complete_configuration(tmp_path: Path) -> None:
    config = config_module.load(written(tmp_path))
    assert config.host_name.to_text() == "macbook.bob.members.example."
    assert config.reverse_zone.to_text() == "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa."
    assert config.key.name == config.host_name
    assert config.key.secret == SECRET
    assert [service.port for service in config.host.services] == [22]
    assert not config.resolved


def test_further_servers_and_a_replaced_key(tmp_path: Path) -> None:
    secondary = {"name": "zone2.bob.members.example", "addresses": ["203.0.113.11"], "port": 853, "host": "zone2"}
    tsig = {"algorithm": "hmac-sha256", "name": "g1.macbook.bob.members.example.", "secret_file": "TSIG"}
    tsig["secret_file"] = str(tmp_path / "tsig.secret")
    config = config_module.load(written(tmp_path, secondaries=[secondary], tsig=tsig))
    assert config.secondaries == (Server("zone2.bob.members.example", ("203.0.113.11",), 853),)
    assert config.key.name.to_text() == "g1.macbook.bob.members.example."


def test_the_resolver_role_switches_the_link_on(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "resolver.json").write_text('{"resolved": true}')
    assert config_module.load(tmp_path).resolved


def test_services_are_optional(tmp_path: Path) -> None:
    (written(tmp_path) / "services.json").unlink()
    assert config_module.load(tmp_path).host.services == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"server": None}, "no 'server'"),
        ({"server": {"name": "z", "addresses": [], "port": 853}}, "wrong 'addresses'"),
        ({"server": {"name": "z", "addresses": ["nowhere"], "port": 853}}, "wrong 'addresses'"),
        ({"server": {"name": "z", "addresses": ["203.0.113.10"], "port": 70000}}, "wrong 'port'"),
        ({"secondaries": ["zone2"]}, "wrong 'secondaries'"),
        ({"secondaries": [{"name": "z", "addresses": [], "port": 853}]}, "wrong 'addresses'"),
        ({"tsig": {"name": "a..b", "algorithm": "hmac-sha256", "secret_file": "/none"}}, "wrong 'name'"),
        ({"prefix": "fd00::1/48"}, "wrong 'prefix'"),
        ({"zone": "local"}, "local"),
        ({"ula": "nonsense"}, "nonsense"),
        ({"stub": {"address": "::1", "port": 53}}, "wrong 'address'"),
        ({"lease": 29}, "wrong 'lease'.*30 to 86400 seconds"),
        ({"lease": 86401}, "wrong 'lease'"),
        ({"lease": "7200"}, "wrong 'lease'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_module.load(written(tmp_path, **changes))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"watcher\.json does not exist"):
        config_module.load(tmp_path)
    written(tmp_path)
    (tmp_path / "services.json").write_text("{")
    with pytest.raises(ConfigError, match=r"services\.json can't be read"):
        config_module.load(tmp_path)


@pytest.mark.parametrize("text", ["", "***", base64.b64encode(b"short").decode(), "\xff"])
def test_a_bad_secret_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    (written(tmp_path) / "tsig.secret").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"tsig\.secret") as caught:
        config_module.load(tmp_path)
    assert not text or text not in str(caught.value).replace(str(tmp_path), "")


def test_who_is_a_peer(config: config_module.Config) -> None:
    assert is_peer_address(config, IPv6Address("fd12:3456:789a::2"))
    assert not is_peer_address(config, IPv6Address("fd12:3456:789a::1"))
    assert not is_peer_address(config, IPv6Address("2001:db8::1"))


def test_the_digest_follows_every_file(tmp_path: Path) -> None:
    seen = {digest(written(tmp_path))}
    for name in ("watcher.json", "services.json", "tsig.secret"):
        (tmp_path / name).write_text("x")
        seen.add(digest(tmp_path))
    assert len(seen) == 4
