# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can't have racoon is told why, a clause for each cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import probe, racoon_host

PEER = {"identity": "mini.bob.example", "ula": "fd12:3456:789a::2", "address": "2001:db8::2"}
WANTED: dict[str, Any] = {
    "identity": "imac.bob.example",
    "key_type": "rsa",
    "outer": ["192.0.2.1", "2001:db8::1"],
    "peers": [PEER, {"identity": "macbook.bob.example", "ula": "fd12:3456:789a::3", "address": None}],
}


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the /etc of a host that has racoon."""
    monkeypatch.setattr(probe, "missing_tools", lambda names: [])
    monkeypatch.setattr(racoon_host, "SWANCTL", tmp_path / "conf.d")
    monkeypatch.setattr(racoon_host, "ZONES", tmp_path / "btmm")
    for folder in ("conf.d", "btmm/bob.example", "btmm/work.example"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "btmm/bob.example/setkey.conf").touch()
    return tmp_path


def test_a_host_that_can() -> None:
    assert racoon_host.faults(WANTED, "") == []


def test_which_zones_racoon_serves(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racoon_host, "UNITS", able)
    assert racoon_host.served() == []
    for name in ("racoon.service.d/btmm-bob.example-policies.conf", "strongswan.service.d/btmm-work.example.conf"):
        (able / name).parent.mkdir()
        (able / name).touch()
    assert racoon_host.served() == ["bob.example"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key_type": "ec"}, "signs by RSA keys only; set identity_key_type"),
        ({"outer": []}, "nothing says at which of its addresses racoon is to listen; name them"),
        (
            {"outer": ["192.0.2.1"], "peers": [PEER]},
            "imac.bob.example can't reach mini.bob.example by racoon: on Linux",
        ),
        ({"peers": [{**PEER, "address": "203.0.113.20"}]}, "every packet is lost; take strongSwan, or IPv6 outside"),
        ({"outer": ["here"]}, "'here' does not appear to be an IPv4 or IPv6 address; correct tunnel_outer"),
        ({"peers": [{**PEER, "identity": "a b"}]}, "'a b' is no name of a host"),
    ],
)
def test_what_the_inventory_says_wrongly(change: dict[str, Any], said: str) -> None:
    (fault,) = racoon_host.faults({**WANTED, **change}, "")
    assert said in fault


def test_what_the_host_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "missing_tools", lambda names: names)
    programs, kernel = racoon_host.faults(WANTED, "Protocol not supported")
    assert programs.startswith("it lacks racoon and setkey, and Debian has no package of them since 12; install")
    assert "needs the kernel's ESP (Protocol not supported); load" in kernel


def test_who_else_uses_the_ports_or_the_file(able: Path) -> None:
    (able / "conf.d/btmm-bob.example.conf").touch()
    (able / "btmm/work.example/setkey.conf").touch()
    ports, file = racoon_host.faults(WANTED, "")
    assert "strongSwan serves it still (btmm-bob.example.conf)" in ports
    assert "that of zone work.example; set tunnel_backend to strongswan" in file
