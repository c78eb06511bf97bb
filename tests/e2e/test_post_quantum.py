# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts whose strongSwan has ML-KEM get keys that no quantum computer breaks; with others they talk as before, at once.

No strongSwan of a released Debian has it, so two hosts of Debian 13 are given a plugin (post_quantum/plugin.c) that
takes it from their OpenSSL.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import packets
from tests.e2e.fleet import ROOT, CommandFailed, Fleet, seconds_until
from tests.e2e.proof import ZONE

PLUGIN = Path(__file__).parent / "post_quantum" / "plugin.c"
ABLE = ("left", "right")
HYBRID = ("x25519 + ML-KEM-768", True)
CLASSICAL = ("x25519", False)
WITHIN_S = 30
# Exchange types of IKE, four zero octets before its header (RFC 3948, section 2.2): RFC 9242, RFC 9370.
INTERMEDIATE = f"({packets.IKE} and udp[30] == 43)"
FOLLOWUP = f"({packets.IKE} and udp[30] == 44)"
# An IKE_SA_INIT whose first payload is no SA: the other end wants another group, or a cookie.
AGAIN = f"({packets.IKE} and udp[30] == 34 and udp[28] != 33)"


def reaches(fleet: Fleet, host: str, peer: str) -> bool:
    """Have a host reach a peer by its name, which opens the tunnel."""
    try:
        fleet.on(host, "ping", "-6", "-c", "1", "-W", "5", f"{peer}.{ZONE}")
    except CommandFailed:
        return False
    return True


def keys(fleet: Fleet, host: str, peer: str) -> tuple[str, bool] | None:
    """Return what a host's status says of its tunnel's keys."""
    told = json.loads(fleet.shell(host, "btmm status --json || true"))
    found = [each for each in told["peers"] if each["name"] == f"{peer}.{ZONE}"]
    return (found[-1]["key_exchange"], found[-1]["post_quantum"]) if found else None


def association(fleet: Fleet, host: str, peer: str) -> tuple[str, str]:
    """Return number and algorithms of a host's IKE SA with a peer, as charon says them."""
    listed = fleet.on(host, "swanctl", "--list-sas")
    pattern = rf": #(\d+), ESTABLISHED.*\n.*\n  remote '{peer}\.{ZONE}'.*\n  (\S+)\n"
    found: list[tuple[str, str]] = re.findall(pattern, listed)
    assert found, listed
    return found[0]


def exchanged(capture: Path) -> bool:
    """Tell whether a capture has both messages of a second key exchange."""
    return packets.count(capture, FOLLOWUP) >= 2


def doctor(fleet: Fleet, host: str) -> list[str]:
    """Return what the doctor says of a host's tunnels."""
    said = fleet.shell(host, "btmm doctor || true").splitlines()
    return [line for line in said if re.match(r"\w+ +(charon|key exchange):", line)]


def enrol(fleet: Fleet, *arguments: str) -> dict[str, int]:
    """Run the playbook; return how many tasks changed something, by host."""
    run = fleet.playbook("site.yml", *arguments)
    assert run.code == 0, run.output
    return {host: recap.changed for host, recap in run.recap.items()}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return an enrolled fleet (lab/topologies/post-quantum.toml); BTMM_KEEP=1 leaves it up afterwards."""
    plugin = tmp_path_factory.mktemp("plugin") / "libstrongswan-mlkem.so"
    compiler = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
    subprocess.run([*compiler, "-o", str(plugin), str(PLUGIN), "-lcrypto"], check=True)
    topology = ROOT / "lab" / "topologies" / "post-quantum.toml"
    fleet = Fleet(f"{Fleet().name}_pq", "tests/e2e/post_quantum", {"BTMM_TOPOLOGY": str(topology)})
    fleet.lab("down")
    try:
        fleet.lab("up", timeout=180)
        for host in ABLE:
            target = f"btmm-{fleet.name}-{host}:/usr/lib/ipsec/plugins/"
            subprocess.run(["podman", "cp", str(plugin), target], check=True)
            fleet.shell(host, "printf 'mlkem {\\n  load = yes\\n}\\n' > /etc/strongswan.d/charon/mlkem.conf")
        enrol(fleet, "--skip-tags", "notifier,relay,lkdc")  # not needed here
        yield fleet
    finally:
        if not os.environ.get("BTMM_KEEP"):
            fleet.lab("down")


def test_both_have_it(fleet: Fleet, tmp_path: Path) -> None:
    """The first run of the roles has asked each strongSwan; what is exchanged second goes encrypted (RFC 9242)."""
    with fleet.capture("wan", tmp_path / "wan.pcap"):
        seconds_until(lambda: reaches(fleet, "left", "right"), WITHIN_S, "right answers")
    for host, peer in (ABLE, ABLE[::-1]):
        seconds_until(partial(keys, fleet, host, peer), WITHIN_S, f"{host} tells of its tunnel")
        assert keys(fleet, host, peer) == HYBRID
        assert association(fleet, host, peer)[1] == "AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519/KE1_ML_KEM_768"
    assert f"{HYBRID[0]} (post-quantum)" in fleet.on("left", "btmm", "status")
    assert packets.count(tmp_path / "wan.pcap", INTERMEDIATE) >= 2
    assert not packets.select(tmp_path / "wan.pcap", AGAIN)


@pytest.mark.parametrize(("caller", "called"), [("left", "old"), ("old", "right")])
def test_one_has_not(fleet: Fleet, tmp_path: Path, caller: str, called: str) -> None:
    """Whoever calls, the first answer takes what both have."""
    with fleet.capture("wan", tmp_path / "wan.pcap"):
        seconds_until(lambda: reaches(fleet, caller, called), WITHIN_S, f"{called} answers")
    seconds_until(lambda: keys(fleet, caller, called) == CLASSICAL, WITHIN_S, f"{caller} tells of its tunnel")
    assert association(fleet, caller, called)[1] == "AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519"
    assert f"{CLASSICAL[0]} (not post-quantum)" in fleet.on(caller, "btmm", "status")
    assert packets.count(tmp_path / "wan.pcap", packets.IKE) >= 4
    assert not packets.select(tmp_path / "wan.pcap", f"{INTERMEDIATE} or {AGAIN}")


def test_new_keys_are_as_good(fleet: Fleet, tmp_path: Path) -> None:
    """Rekeying exchanges both again (RFC 9370 section 2.2.4), for IKE as for ESP."""
    seconds_until(lambda: reaches(fleet, "left", "right"), WITHIN_S, "right answers")
    number, algorithms = association(fleet, "left", "right")
    for what in ("child", "ike"):
        with fleet.capture("wan", tmp_path / f"{what}.pcap"):
            fleet.on("left", "swanctl", "--rekey", f"--{what}", f"peer-right.{ZONE}")
            seconds_until(
                partial(exchanged, tmp_path / f"{what}.pcap"),
                WITHIN_S,
                f"the second key exchange of the new {what} keys",
            )
    seconds_until(lambda: association(fleet, "left", "right")[0] != number, WITHIN_S, "there is a new association")
    assert association(fleet, "left", "right")[1] == algorithms
    assert reaches(fleet, "left", "right")


def test_the_doctor_says_who_has_it(fleet: Fleet) -> None:
    assert "ok     key exchange: ML-KEM-768 with peers that have it, too" in doctor(fleet, "left")
    version = fleet.shell("old", "swanctl --version | grep -om 1 '[0-9.]*'").strip()
    said = f"ok     key exchange: strongSwan {version} here has no ML-KEM-768: no tunnel is post-quantum"
    assert said in doctor(fleet, "old")


def test_it_is_lost_and_comes_back(fleet: Fleet) -> None:
    """Another package of strongSwan: the doctor sees that the role has not run since, and the role mends it."""
    settings = "/etc/strongswan.d/charon/mlkem.conf"
    fleet.shell("right", f"mv {settings} /root; systemctl restart strongswan")
    assert any(
        line.startswith("FAULT  key exchange: peers that call are promised ML-KEM-768")
        for line in doctor(fleet, "right")
    )
    assert enrol(fleet, "--limit", "right", "--tags", "tunnel")["right"] == 2  # the file, and that it is loaded
    assert all(line.startswith("ok ") for line in doctor(fleet, "right"))
    seconds_until(lambda: reaches(fleet, "left", "right"), WITHIN_S, "right answers")
    seconds_until(lambda: keys(fleet, "left", "right") == CLASSICAL, WITHIN_S, "left tells of its tunnel")

    fleet.shell("right", f"mv /root/mlkem.conf {settings}; systemctl restart strongswan")
    assert any(line.startswith("FAULT  key exchange: peers that call get no") for line in doctor(fleet, "right"))
    assert enrol(fleet, "--limit", "right", "--tags", "tunnel")["right"] == 2
    assert enrol(fleet, "--limit", "right", "--tags", "tunnel")["right"] == 0
    assert all(line.startswith("ok ") for line in doctor(fleet, "right"))
