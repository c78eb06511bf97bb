# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays tests/scenarios, each a sentence that holds."""

from __future__ import annotations

import pytest

from tests.e2e import scenarios
from tests.e2e.fleet import Fleet
from tests.e2e.scenarios import Scenario, Stage


@pytest.fixture(scope="module")
def stage(grid_fleet: Fleet) -> Stage:
    return Stage(grid_fleet)


@pytest.mark.parametrize("scenario", scenarios.all_of_them(), ids=lambda scenario: scenario.name)
def test_scenario(stage: Stage, scenario: Scenario) -> None:
    stage.play(scenario)
