# SPDX-License-Identifier: GPL-3.0-or-later
"""One kernel with two hosts for all these tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import probe

from tests.kernel import files, root
from tests.kernel.fleet import Fleet
from tests.kernel.hosts import HOSTS, IMAC
from tests.kernel.machine import Machine


@dataclass(frozen=True)
class Unguarded:
    """What the routers saw before there was a guard, and the hosts called each other."""

    clear: int


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return the kernel, booted."""
    with Machine(root.kernel(), root.disk(), tmp_path_factory.mktemp("kernel") / "console.log") as machine:
        yield machine


@pytest.fixture(scope="session")
def data_path(machine: Machine) -> str:
    """Return what the role preflight finds in there: its own question, asked there."""
    question = "\nprint('kernel' if not esp_fault() else 'libipsec')"
    return machine.run("python3", "-", stdin=Path(probe.__file__).read_text() + question).strip()


@pytest.fixture(scope="session")
def plugged(machine: Machine, data_path: str, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the fleet with its files and links, and nothing running."""
    folder = tmp_path_factory.mktemp("fleet")
    files.render(folder, data_path)
    fleet = Fleet(machine)
    fleet.plug(folder)
    return fleet


@pytest.fixture(scope="session")
def unguarded(plugged: Fleet) -> Unguarded:
    """Let the hosts call each other as they are."""
    plugged.echo(IMAC)
    return Unguarded(plugged.seen("clear"))


@pytest.fixture(scope="session")
def fleet(plugged: Fleet, unguarded: Unguarded) -> Fleet:
    """Return the fleet with its guard and charon."""
    for host in HOSTS:
        plugged.guard(host)
        plugged.start(host)
    return plugged
