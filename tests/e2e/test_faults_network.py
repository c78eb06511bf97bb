# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the network: the fleet goes on as far as it can, says what is wrong, and mends by itself."""

from __future__ import annotations

import os
import re
import time
from ipaddress import IPv6Network

import pytest

from tests.e2e import faults, made_up, proof
from tests.e2e.fleet import Fleet, seconds_until
from tests.e2e.proof import WATCHER, ZONE

pytestmark = pytest.mark.usefixtures("whole")
OUTAGE_S = float(os.environ.get("BTMM_OUTAGE_S", "90"))
CALLED, OFF = 16, "203.0.113.99"  # made-up hosts, and where nobody is
# Runs in mini's place: its address changes 50 times within ten seconds, and is the second one at the end.
FLAP = """
for _ in $(seq 25); do
  ip addr flush dev eth0 scope global; ip addr add 203.0.113.20/24 broadcast + dev eth0; sleep 0.19
  ip addr flush dev eth0 scope global; ip addr add 203.0.113.21/24 broadcast + dev eth0; sleep 0.19
done
"""
FLAP_S, FLAPS = 15, 3
CALLED_ENOUGH = "/run/called-enough"


def flapped(fleet: Fleet) -> str:
    """Let the address flap, and return since when; again where the machine had other work and took too long for it."""
    took = []
    for _ in range(FLAPS):
        mark, begin = faults.now(fleet, "zone"), time.monotonic()
        fleet.shell("mini", FLAP)
        took.append(time.monotonic() - begin)
        if took[-1] < FLAP_S:
            return mark
    raise AssertionError(f"50 changes took {took} s")


# Where the gateway does not announce itself (RFC 6886 section 3.2.1), the relay sees that something changed.
@pytest.mark.parametrize(
    ("rules", "within_s"), [([], faults.SOON_S), (["udp dport 5350 drop"], 90)], ids=["announced", "not announced"]
)
def test_after_a_nat_rebooted_with_a_new_address_and_an_empty_table_its_host_is_reached_again(
    fleet: Fleet, rules: list[str], within_s: float
) -> None:
    try:
        with faults.filtered(fleet, "imac", rules, device="eth0"):
            faults.reboot_router(fleet, "nat-home", "203.0.113.111")
            new = {"203.0.113.111"}
            seconds_until(lambda: faults.outer(fleet, "imac") == new, within_s, "imac's new address published")
            seconds_until(lambda: faults.opens(fleet, "mini", "imac"), faults.SOON_S, "mini opens imac's page")
            proof.fetch(fleet, "macbook", "imac")
    finally:
        faults.reboot_router(fleet, "nat-home", "203.0.113.101")
        seconds_until(
            lambda: faults.outer(fleet, "imac") == {"203.0.113.101"}, faults.SOON_S, "the old address published"
        )


def test_behind_a_gateway_that_maps_nothing_a_host_says_so_and_still_reaches_others(fleet: Fleet) -> None:
    fleet.shell("nat-home", faults.FORGET)
    try:
        fleet.on("imac", "systemctl", "restart", WATCHER)
        seconds_until(
            lambda: bool(faults.status(fleet, "imac").get("unmapped")), faults.SOON_S, "imac says what is amiss"
        )
        told = fleet.shell("imac", "btmm status || true")
        assert re.search(r"unmapped .*192\.168\.10\.1\b", told), told
        seconds_until(lambda: not faults.outer(fleet, "imac"), faults.SOON_S, "no address published that leads nowhere")
        proof.fetch(fleet, "imac", "mini")
        proof.fetch(fleet, "imac", "macbook")
    finally:
        fleet.on("nat-home", "systemctl", "start", "lab-miniupnpd")
    # miniupnpd announces itself (RFC 6886 section 3.2.1): nobody has to wait for the next try.
    seconds_until(lambda: faults.outer(fleet, "imac") == {"203.0.113.101"}, faults.SOON_S, "imac is mapped again")


def test_without_the_zone_host_names_and_tunnels_go_on_and_what_changed_is_published_after(fleet: Fleet) -> None:
    for client, server in (("macbook", "imac"), ("imac", "mini"), ("macbook", "mini")):
        proof.fetch(fleet, client, server)  # what was known once is what is left
    ended = time.monotonic() + OUTAGE_S
    fleet.lab("unplug", "zone")
    try:
        assert faults.opens(fleet, "macbook", "imac"), "the tunnel that was up is of no use"
        proof.fetch(fleet, "macbook", "imac")
        proof.fetch(fleet, "imac", "mini")
        fleet.lab("plug", "imac", "cafe")
        while (left := ended - time.monotonic()) > 0:
            time.sleep(min(left, 30))
            proof.fetch(fleet, "macbook", "mini")
        fleet.lab("plug", "zone", "wan")
        moved = {"203.0.113.102"}
        seconds_until(lambda: faults.outer(fleet, "imac") == moved, faults.BACK_S, "imac published its move")
    finally:
        fleet.lab("plug", "zone", "wan")
        fleet.lab("plug", "imac", "home")


def test_an_address_that_changes_50_times_in_10_s_ends_published_right_with_few_updates(fleet: Fleet) -> None:
    try:
        mark = flapped(fleet)
        seconds_until(lambda: faults.outer(fleet, "mini") == {"203.0.113.21"}, faults.SOON_S, "the last one published")
        time.sleep(2)
        assert faults.outer(fleet, "mini") == {"203.0.113.21"}
        updates = re.findall(
            rf"/key mini\.{re.escape(ZONE)}: updating zone '{ZONE}/IN': adding an RR at '_lease\.mini",
            faults.log(fleet, "zone", "named", mark),
        )
        assert 1 <= len(updates) <= 15, f"{len(updates)} updates"
    finally:
        fleet.lab("plug", "mini", "wan")


def test_while_many_hosts_that_are_off_are_called_another_is_reached_and_charon_lives(fleet: Fleet) -> None:
    prefix = IPv6Network(f"{proof.ula(fleet, 'mini')}/48", strict=False)
    ulas = [prefix[n] for n in range(1, CALLED + 1)]
    made_up.publish(fleet, "off", ulas, OFF)
    try:
        proof.drop_tunnels(fleet, "macbook", "mini")
        fleet.shell(
            "macbook",
            f"rm -f {CALLED_ENOUGH}; trap 'touch {CALLED_ENOUGH}' EXIT\n"
            f"for n in $(seq {CALLED}); do\n"
            f"  until [[ -e {CALLED_ENOUGH} ]]; do curl -s --max-time 9 http://off-$n.{ZONE}/ || sleep 0.1; done &\n"
            f"done > /dev/null\nsleep 1.5\n"
            f"curl -sS --fail --max-time 15 http://mini.{ZONE}/\n"
            f"timeout 10 swanctl --list-sas --noblock > /dev/null\ntouch {CALLED_ENOUGH}; wait",
        )
    finally:
        made_up.withdraw(fleet, "off", ulas, OFF)
