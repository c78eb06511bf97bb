# SPDX-License-Identifier: GPL-3.0-or-later
"""No packet of the /48 leaves in clear (RFC 6281 section 6.2), whatever the units do; with kernel ESP: tests/kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import packets, proof
from tests.e2e.fleet import Fleet, seconds_until
from tests.e2e.proof import FOLDER, WATCHER, ZONE

TABLE = f"btmm_guard_{ZONE}"
WITHIN_S = 60


@pytest.fixture
def leaking(fleet: Fleet) -> Iterator[Fleet]:
    """Have imac send to macbook all the time, with the watcher stopped and a default route that takes every packet."""
    proof.drop_tunnels(fleet, "imac", "macbook")
    own, peer = proof.ula(fleet, "imac"), proof.ula(fleet, "macbook")
    fleet.shell(
        "imac",
        f"""
        systemctl stop {WATCHER}
        ip -6 neighbor replace fe80::bad lladdr 02:00:00:00:0b:ad dev eth0 nud permanent
        ip -6 route add {peer}/128 via fe80::bad dev eth0
        """,
    )
    try:
        with fleet.started("imac", "ping", "-n", "-q", "-i", "0.05", "-I", own, peer):
            yield fleet
    finally:
        fleet.shell(
            "imac",
            f"""
            pkill -x ping || true
            nft --file {FOLDER}/guard.nft
            ip -6 route del {peer}/128 via fe80::bad dev eth0
            ip -6 neighbor del fe80::bad dev eth0
            systemctl start strongswan.service {WATCHER}
            """,
        )
        fleet.on("imac", "btmm", "wait", "--timeout", "60")


def refused(fleet: Fleet) -> int:
    """Return how many of imac's packets the guard has refused since it was loaded."""
    chain = fleet.on("imac", "nft", "list", "chain", "inet", TABLE, "output")
    return sum(int(line.split("packets ")[1].split()[0]) for line in chain.splitlines() if "packets " in line)


def refuses(fleet: Fleet, what: str) -> None:
    """Wait until the guard refuses packets: until it is the guard alone that keeps them."""
    before = refused(fleet)
    seconds_until(lambda: refused(fleet) > before, WITHIN_S, what)


def test_nothing_leaves_in_clear_whatever_becomes_of_charon(leaking: Fleet, tmp_path: Path) -> None:
    clear = f"ip6 and net {proof.ula(leaking, 'macbook')}"
    guarded, unguarded = tmp_path / "guarded.pcap", tmp_path / "unguarded.pcap"
    with leaking.capture("home", guarded):
        for order in (
            "systemctl stop strongswan.service",
            "systemctl start strongswan.service",
            "systemctl kill --signal KILL --kill-whom main strongswan.service",
            "systemctl restart strongswan.service",
            f"systemctl reload btmm-guard@{ZONE}.service",
            "systemctl stop strongswan.service",
        ):
            leaking.shell("imac", order)
            refuses(leaking, f"the guard refuses after: {order}")
    assert not packets.select(guarded, clear)
    # The same without the guard, or this would prove nothing.
    with leaking.capture("home", unguarded):
        leaking.on("imac", "nft", "delete", "table", "inet", TABLE)
        seconds_until(lambda: packets.count(unguarded, clear) > 0, WITHIN_S, "packets leave in clear")
