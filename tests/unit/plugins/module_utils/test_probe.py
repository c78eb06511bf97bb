# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes, with the answers of real hosts put in their mouths."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import probe
from hypothesis import given
from hypothesis import strategies as st

Answer = Callable[..., None]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    def put(code: int = 0, out: str = "", err: str = "") -> None:
        done = subprocess.CompletedProcess([], code, out, err)
        monkeypatch.setattr(probe, "_run", lambda _: done)

    return put


def test_esp(answer: Answer) -> None:
    answer()
    assert probe.esp_fault() == ""
    answer(2, err="Error: Requested AEAD algorithm not found.\n")
    assert probe.esp_fault() == "Error: Requested AEAD algorithm not found."
    answer(1)
    assert probe.esp_fault() == "exit code 1"


def test_probes_touch_no_state_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(probe, "_run", asked.append)
    assert "missing" in probe.esp_fault()
    assert "missing" in probe.tun_fault()
    assert [command[:2] for command in asked] == [["unshare", "-n"]] * 2


ROUTED = {"dst": "192.0.2.1", "gateway": "192.168.10.1", "dev": "eth0", "prefsrc": "192.168.10.10", "flags": []}


def test_way_out(answer: Answer) -> None:
    answer(out=json.dumps([ROUTED]))
    assert probe.way_to("192.0.2.1") == {"address": "192.168.10.10", "interface": "eth0", "gateway": "192.168.10.1"}
    answer(out=json.dumps([{**ROUTED, "gateway": None} | {"dev": "lo"}]))
    assert probe.way_to("192.0.2.1") is None
    answer(2, err="RTNETLINK answers: Network is unreachable\n")
    assert probe.way_to("192.0.2.1") is None
    answer(out="not json")
    assert probe.way_to("192.0.2.1") is None


@pytest.mark.parametrize(
    ("uplink", "words"),
    [(None, "no IPv4 address"), ({"address": "169.254.3.4"}, "no free address"), ({"address": "192.168.10.10"}, "")],
)
def test_address_faults(uplink: dict[str, str] | None, words: str) -> None:
    fault = probe.address_fault(uplink, "203.0.113.10")
    assert (words in fault) if words else fault == ""


@pytest.mark.parametrize(
    ("out", "err"), [("strongSwan 5.9.8 swanctl\n", ""), ("", "connecting failed\nstrongSwan 5.9.8 swanctl\nusage:\n")]
)
def test_version_on_either_output(answer: Answer, out: str, err: str) -> None:
    answer(22, out, err)
    assert probe.version(["swanctl", "--version"], r"strongSwan (\S+)") == "5.9.8"


def test_version_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_run", lambda _: None)
    assert probe.version(["swanctl", "--version"], r"strongSwan (\S+)") == ""


def test_tools() -> None:
    assert probe.missing_tools(["sh", "no-such-tool"]) == ["no-such-tool"]


@given(st.text())
def test_distribution_reads_anything(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "exists", lambda _: True)
        patch.setattr(Path, "read_text", lambda *_, **__: text)
        found: dict[str, Any] = probe.distribution()
        assert set(found) == {"id", "codename"}
        patch.setattr(probe, "_run", lambda _: None)
        assert probe.resolver()["resolved"] is False
