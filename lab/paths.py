# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps what it made."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

LAB = Path(__file__).resolve().parent
BUILD = LAB.parent / "build" / "lab"
_FLEET = re.compile(r"[a-z][a-z0-9_]{0,30}")


def fleet_dir(fleet: str) -> Path:
    """Folder of a fleet's keys and settings; LabError for a name that cannot name containers and namespaces.

    No hyphens: `btmm-<fleet>` is the namespace of the fabric, `btmm-<fleet>-<host>` that of a host.
    """
    if not _FLEET.fullmatch(fleet):
        raise LabError(
            f"fleet name {fleet!r} must be 1 to 31 lower-case letters, digits and underscores, a letter first"
        )
    return BUILD / fleet


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two commands do not make the same thing at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
