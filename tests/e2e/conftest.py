# SPDX-License-Identifier: GPL-3.0-or-later
"""One rehearsal fleet for all end-to-end tests, enrolled once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e import faults
from tests.e2e.fleet import Fleet, Run, seconds_until


@pytest.fixture(scope="session")
def clean() -> Iterator[Fleet]:
    """Return a fleet that just booted; BTMM_KEEP=1 leaves it up afterwards."""
    fleet = Fleet()
    fleet.lab("down")
    fleet.lab("up", timeout=180)  # a busy machine needs more than the second of an idle one
    yield fleet
    if not os.environ.get("BTMM_KEEP"):
        fleet.lab("down")


@pytest.fixture(scope="session")
def rehearsed(clean: Fleet) -> Run:
    """Run site.yml on the clean fleet in check mode."""
    return clean.playbook("site.yml", "--check", "--diff")


@pytest.fixture(scope="session")
def fleet(clean: Fleet, rehearsed: Run) -> Fleet:
    """Return the enrolled fleet."""
    run = clean.playbook("site.yml")
    assert run.code == 0, run.output
    return clean


@pytest.fixture
def whole(fleet: Fleet) -> Iterator[None]:
    """See that the fleet is whole before a test, so that one failure does not become the next one's, and after it."""
    faults.put_back(fleet)
    seconds_until(
        lambda: not faults.missing(fleet), faults.BACK_S, "whole before the test", lambda: faults.missing(fleet)
    )
    yield
    faults.whole(fleet)


@pytest.fixture(scope="session")
def grid_fleet() -> Iterator[Fleet]:
    """Return another enrolled fleet: two hosts, and a network of every kind for each (lab/topologies/nat-grid.toml)."""
    fleet = Fleet(f"{Fleet().name}_grid", "tests/e2e/grid")
    fleet.lab("down")
    try:
        fleet.lab("--topology", "lab/topologies/nat-grid.toml", "up", timeout=180)
        run = fleet.playbook("site.yml")
        assert run.code == 0, run.output
        yield fleet
    finally:
        if not os.environ.get("BTMM_KEEP"):
            fleet.lab("down")
