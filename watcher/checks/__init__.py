# SPDX-License-Identifier: GPL-3.0-or-later
"""What `btmm doctor` looks at, hop by hop. No check changes anything."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watcher.config import Config
    from watcher.places import Places


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw; `fix` is empty when all is well."""

    hop: str
    seen: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether the hop works."""
        return not self.fix


@dataclass(frozen=True, slots=True)
class Patient:
    """One zone of this host: its name, its folders, its configuration, what its daemon says of itself."""

    zone: str
    places: Places
    config: Config
    status: dict[str, Any]


def run(*command: str) -> tuple[int, str]:
    """Run a program that only looks; return its exit status and all that it printed in one line, 127 without it."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return 127, str(err)
    return done.returncode, " ".join((done.stdout + done.stderr).split())
