# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a daemon has seen the latest of its configuration. Loads fast, for the command line."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from .places import KDC_FOLDER

if TYPE_CHECKING:
    from pathlib import Path


def digest(directory: Path) -> str:
    """Return a short digest of the files that the daemon reads."""
    sums = hashlib.sha256()
    for path in [*sorted(directory.glob("*.json")), directory / "tsig.secret", directory / KDC_FOLDER / "kdc.pem"]:
        with contextlib.suppress(OSError):
            sums.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sums.hexdigest()[:16]
