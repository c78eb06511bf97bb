# SPDX-License-Identifier: GPL-3.0-or-later
"""The NAT grid: whatever network each of two hosts is in, the one reaches the other by name."""

from __future__ import annotations

import os

import pytest

from tests.e2e import nat_grid
from tests.e2e.fleet import Fleet
from tests.e2e.nat_grid import DOCUMENT, Grid

# 6, 4: direct over IPv6, over IPv4. M: mediated by the zone host, then without it. R: relayed by it.
# Rows: left, who asks.
# Who is public or mapped can be called by everybody. Mediation takes a NAT at either end that keeps the port; of both
# families only the zone host and public hosts are.
EXPECTED = """
        none mapped cone random double cgnat six
none    6    4      M    R      M      R     6
mapped  4    4      M    R      M      R     R
cone    4    4      M    R      M      R     R
random  4    4      R    R      R      R     R
double  4    4      M    R      M      R     R
cgnat   4    4      R    R      R      R     R
six     6    R      R    R      R      R     6
"""
RUNGS = {"6": "direct6", "4": "direct", "M": "mediated", "R": "relayed"}


def expected() -> dict[tuple[str, str], str]:
    head, *rows = (line.split() for line in EXPECTED.strip().splitlines())
    return {(row[0], right): RUNGS[letter] for row in rows for right, letter in zip(head, row[1:], strict=True)}


@pytest.fixture(scope="module")
def grid(grid_fleet: Fleet) -> Grid:
    """Walk the fleet through all pairs."""
    found = nat_grid.walk(grid_fleet, expected())
    if os.environ.get("BTMM_DOCS"):
        DOCUMENT.write_text(nat_grid.document(found))
    return found


def test_the_table_names_every_pair() -> None:
    assert set(expected()) == set(nat_grid.pairs())


@pytest.mark.parametrize(("left", "right"), expected())
def test_each_pair_connects_by_the_best_way_it_can(grid: Grid, left: str, right: str) -> None:
    outcome = grid[left, right]
    assert outcome.rung in nat_grid.fitting(expected(), (left, right)), f"{left} to {right}: {outcome}"
