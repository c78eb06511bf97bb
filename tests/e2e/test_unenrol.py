# SPDX-License-Identifier: GPL-3.0-or-later
"""A host leaves the fleet, lost or at hand; what is left of it is nothing, and it may come back."""

from __future__ import annotations

import re

import pytest

from tests.e2e import proof
from tests.e2e.fleet import CommandFailed, Fleet


def named_in_zone(fleet: Fleet, host: str) -> list[tuple[str, str, str]]:
    return [record for record in proof.zone_records(fleet) if re.search(host, " ".join(record), re.IGNORECASE)]


def enrol_again(fleet: Fleet) -> None:
    run = fleet.playbook("site.yml")
    assert run.code == 0, run.output
    proof.records(fleet)
    proof.fetch(fleet, "macbook", "imac")


def test_without_limit_nothing_is_unenrolled(fleet: Fleet) -> None:
    run = fleet.playbook("playbooks/unenrol.yml")
    assert run.code != 0
    assert "name hosts with --limit" in run.output
    proof.records(fleet)


def test_check_mode_says_so_and_changes_nothing(fleet: Fleet) -> None:
    run = fleet.playbook("playbooks/unenrol.yml", "--limit", "macbook", "--check", "--diff")
    assert run.code == 0, run.output
    assert run.recap["macbook"].changed
    proof.records(fleet)
    proof.fetch(fleet, "macbook", "imac")


def test_a_host_at_hand_is_as_before_its_enrolment(fleet: Fleet) -> None:
    run = fleet.playbook("playbooks/unenrol.yml", "--limit", "macbook")
    assert run.code == 0, run.output
    assert named_in_zone(fleet, "macbook") == []
    left = fleet.shell(
        "macbook",
        "find /etc /run /var/lib /usr/local -path /run/credentials -prune -o -name '*btmm*' -print;"
        " ip -6 addr show dev lo | grep -o ' fd.*' || true; ip -brief link | grep btmm || true;"
        f" nft list tables | grep btmm || true; systemctl is-active strongswan {proof.WATCHER} || true",
    )
    assert left.split() == ["inactive", "inactive"], left
    again = fleet.playbook("playbooks/unenrol.yml", "--limit", "macbook")
    assert again.code == 0, again.output
    assert not again.recap["macbook"].changed, again.output
    enrol_again(fleet)


def test_a_lost_host_is_locked_out(fleet: Fleet) -> None:
    """Nobody can reach it to undo anything: its key dies in the zone, and never comes back."""
    secret = fleet.on("macbook", "cat", f"{proof.FOLDER}/tsig.secret").strip()
    fleet.shell(
        "macbook", "systemctl stop ssh.service ssh.socket 2>/dev/null || true; pkill -f 'sshd.*[n]otty' || true"
    )
    run = fleet.playbook("playbooks/unenrol.yml", "--limit", "macbook")
    fleet.on("macbook", "systemctl", "start", "ssh.service")
    assert run.code == 0, run.output
    assert named_in_zone(fleet, "macbook") == []
    fleet.on("macbook", "systemctl", "restart", "--no-block", proof.WATCHER)
    told = fleet.shell("macbook", "btmm wait --timeout 15 2>&1 && exit 1 || true")
    assert re.search("BADKEY|key", told), told
    with pytest.raises(CommandFailed, match="Could not resolve"):
        fleet.on("macbook", "curl", "--silent", "--show-error", "--max-time", "10", f"http://imac.{proof.ZONE}/")
    assert named_in_zone(fleet, "macbook") == []
    enrol_again(fleet)
    assert fleet.on("macbook", "cat", f"{proof.FOLDER}/tsig.secret").strip() != secret
