# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor makes of what the daemon tells of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.checks import Patient, zone
from watcher.commands.status import describe
from watcher.places import Places

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.config import Config


def test_another_writer_is_named_by_doctor_and_status(config: Config, tmp_path: Path) -> None:
    status = {"overwritten": ["t.bob.members.example. A"]}
    patient = Patient("bob.members.example", Places(tmp_path, tmp_path, tmp_path, tmp_path), config, status)
    finding = next(zone.check(patient))
    assert (finding.hop, finding.ok) == ("conflict", False)
    assert "t.bob.members.example. A" in finding.seen
    assert "key of macbook" in finding.fix
    assert "conflict  another writer changed t.bob.members.example. A" in describe(status)
