# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: enrol a fleet, reach a NATed host by name."""

from __future__ import annotations

import pytest

from tests.e2e import proof
from tests.e2e.fleet import Fleet, Run


def test_check_mode_on_clean_hosts_says_what_would_be_done(clean: Fleet, rehearsed: Run) -> None:
    assert rehearsed.code == 0, rehearsed.output
    assert all(counts.failed == 0 and counts.changed > 0 for counts in rehearsed.recap.values()), rehearsed.output
    assert f"+++ after: /etc/swanctl/conf.d/btmm-{proof.ZONE}.conf" in rehearsed.output
    assert "PRIVATE KEY" not in rehearsed.output


def test_macbook_browses_the_zone(fleet: Fleet) -> None:
    proof.browse(fleet)


def test_zone_holds_exactly_the_records_of_the_slides(fleet: Fleet) -> None:
    proof.records(fleet)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("macbook", "imac"),
        ("imac", "macbook"),
        ("mini", "imac"),
        ("imac", "mini"),
        ("mini", "macbook"),
        ("macbook", "mini"),
    ],
)
def test_page_opens_by_name_at_first_try(fleet: Fleet, client: str, server: str) -> None:
    proof.fetch(fleet, client, server)


def test_ssh_opens_by_name_at_first_try(fleet: Fleet) -> None:
    proof.log_in(fleet, "macbook", "imac")


def test_wan_carries_only_ike_and_esp_in_udp(fleet: Fleet) -> None:
    proof.wire(fleet)


def test_clear_text_to_a_ula_is_not_delivered(fleet: Fleet) -> None:
    proof.guard(fleet)


def test_without_the_guard_clear_text_would_be_delivered(fleet: Fleet) -> None:
    """The test above could not fail otherwise."""
    fleet.on("imac", "nft", "delete", "table", "inet", f"btmm_guard_{proof.ZONE}")
    try:
        assert proof.clear_text_is_delivered(fleet)
    finally:
        fleet.on("imac", "nft", "--file", f"{proof.FOLDER}/guard.nft")


def test_second_run_changes_nothing(fleet: Fleet) -> None:
    proof.again(fleet)


def test_check_mode_on_an_enrolled_fleet_finds_nothing_to_do(fleet: Fleet) -> None:
    run = fleet.playbook("site.yml", "--check", "--diff")
    assert run.code == 0, run.output
    assert not any(counts.changed for counts in run.recap.values()), run.output


def test_limit_touches_nothing_else(fleet: Fleet) -> None:
    others = ("imac", "mini", "zone")
    fingerprint = "find /etc -newer /proc/1 -type f | sort | xargs sha256sum"
    before = {host: fleet.shell(host, fingerprint) for host in others}
    run = fleet.playbook("site.yml", "--limit", "macbook")
    assert run.code == 0, run.output
    assert set(run.recap) == {"macbook"}, run.recap
    assert not run.recap["macbook"].changed, run.output
    assert {host: fleet.shell(host, fingerprint) for host in others} == before


def test_ula_survives_a_reboot(fleet: Fleet) -> None:
    before = proof.ula(fleet, "imac")
    fleet.lab("restart", "imac")
    assert proof.ula(fleet, "imac") == before
    proof.fetch(fleet, "macbook", "imac")


@pytest.mark.parametrize("tag", ["tunnel", "services", "watcher"])
def test_a_part_alone_changes_nothing_else(fleet: Fleet, tag: str) -> None:
    run = fleet.playbook("site.yml", "--tags", tag)
    assert run.code == 0, run.output
    assert not any(counts.changed for counts in run.recap.values()), run.output
