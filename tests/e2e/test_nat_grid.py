# SPDX-License-Identifier: GPL-3.0-or-later
"""The NAT grid: whatever network each of two hosts is in, the one reaches the other by name."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e import nat_grid
from tests.e2e.fleet import Fleet
from tests.e2e.nat_grid import DOCUMENT, Grid

# D: must be direct, over IPv4 or IPv6. Z: has to go by the zone host, which mediates or relays. Rows: left, who asks.
# Nobody but mapped and public hosts can be called, so left's own network matters only where the families differ.
EXPECTED = """
        none mapped cone random double cgnat six
none    D    D      Z    Z      Z      Z     D
mapped  D    D      Z    Z      Z      Z     Z
cone    D    D      Z    Z      Z      Z     Z
random  D    D      Z    Z      Z      Z     Z
double  D    D      Z    Z      Z      Z     Z
cgnat   D    D      Z    Z      Z      Z     Z
six     D    Z      Z    Z      Z      Z     D
"""
LETTERS = {"direct": "D", "mediated": "Z", "relayed": "Z"}


def expected() -> dict[tuple[str, str], str]:
    head, *rows = (line.split() for line in EXPECTED.strip().splitlines())
    return {(row[0], right): letter for row in rows for right, letter in zip(head, row[1:], strict=True)}


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    """Enrol a fleet of its own, and walk it through all pairs."""
    fleet = Fleet("e2e_grid", "tests/e2e/grid")
    fleet.lab("down")
    try:
        fleet.lab("--topology", "lab/topologies/nat-grid.toml", "up", timeout=180)
        run = fleet.playbook("site.yml")
        assert run.code == 0, run.output
        found = nat_grid.walk(fleet)
        text = nat_grid.document(found)
        if (
            os.environ.get("BTMM_DOCS")
            or not DOCUMENT.exists()
            or nat_grid.ways(DOCUMENT.read_text()) != nat_grid.ways(text)
        ):
            DOCUMENT.write_text(text)
        yield found
    finally:
        if not os.environ.get("BTMM_KEEP"):
            fleet.lab("down")


def test_the_table_names_every_pair() -> None:
    assert set(expected()) == set(nat_grid.pairs())


@pytest.mark.parametrize(("left", "right"), expected())
def test_each_pair_connects_by_the_best_way_it_can(grid: Grid, left: str, right: str) -> None:
    outcome = grid[left, right]
    assert outcome.rung, f"{left} to {right}: {outcome}"
    assert LETTERS[outcome.rung] == expected()[left, right], f"{left} to {right}: {outcome}"
