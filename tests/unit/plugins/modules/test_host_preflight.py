# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight module: all faults at once, one sentence each, host first; only what is required is a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import probe
from ansible_collections.btmm.fleet.plugins.modules import host_preflight

from tests.unit.running import run_module

Look = Callable[..., dict[str, Any]]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Look:
    def run(*, esp: str = "", tun: str = "", skew: float = 0, systemd: str = "252", **options: Any) -> dict[str, Any]:
        uplink = options.pop("uplink", {"address": "192.168.10.10", "interface": "eth0", "gateway": "192.168.10.1"})
        monkeypatch.setattr(probe, "esp_fault", lambda: esp)
        monkeypatch.setattr(probe, "tun_fault", lambda: tun)
        monkeypatch.setattr(probe, "way_to", lambda _: uplink)
        monkeypatch.setattr(probe, "version", lambda command, _: systemd if command[0] == "systemctl" else "5.9.8")
        given = {"host": "imac", "controller_time": time.time() - skew, "tools": ["sh"], **options}
        return run_module(host_preflight.main, given, capsys)

    return run


def test_a_good_host(look: Look) -> None:
    found = look()
    assert not found.get("failed")
    assert not found["changed"]
    assert (found["data_path"], found["strongswan_version"], found["systemd_version"]) == ("kernel", "5.9.8", 252)


def test_without_kernel_esp_the_tunnel_runs_over_tun(look: Look) -> None:
    assert look(esp="Protocol not supported")["data_path"] == "libipsec"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"esp": "no ESP", "tun": "no TUN"}, "neither ESP (no ESP) nor TUN (no TUN); load"),
        ({"tun": "denied"}, "no TUN interface can be made (denied); load"),
        ({"uplink": None}, "no IPv4 address with a route to 192.0.2.1; connect"),
        ({"skew": 600}, "600 s ahead of the controller's; set it"),
        ({"skew": -600}, "600 s behind the controller's; set it"),
        ({"systemd": "239"}, "needs systemd 249 or later and has 239; upgrade"),
        ({"systemd": ""}, "has none; upgrade"),
        ({"tools": ["sh", "no-such"]}, "lacks no-such; install"),
    ],
)
def test_faults(look: Look, state: dict[str, Any], words: str) -> None:
    found = look(**state)
    assert found["failed"]
    (fault,) = found["faults"]
    assert fault.startswith("imac: ")
    assert words in fault
    assert "failed" not in look(**state, require=["python"])


def test_all_faults_at_once(look: Look) -> None:
    found = look(esp="e", tun="t", uplink=None, skew=1000)
    assert len(found["faults"]) == 3
    assert found["msg"] == "\n".join(found["faults"])


def test_an_old_python(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_preflight, "MIN_PYTHON", (4, 0))
    assert "needs Python 4.0 or later" in look()["msg"]


def test_what_racoon_needs_is_told_with_the_rest(look: Look) -> None:
    wanted = {"identity": "imac.bob.example", "key_type": "ec", "outer": ["2001:db8::1"]}
    found = look(skew=600, racoon=wanted, require=["clock"])
    assert "600 s ahead" in found["faults"][0]
    assert found["faults"][1].startswith("imac: racoon signs by RSA keys only; set identity_key_type to rsa")
