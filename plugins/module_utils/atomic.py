# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either the old or the new one, never half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def write_atomic(
    path: Path, content: bytes, mode: int = 0o600, owner: str | None = None, group: str | None = None
) -> None:
    """Replace ``path`` by ``content`` with permission bits ``mode``; on any failure the old file stays as it was.

    Raises:
        OSError: the directory is missing or not writable, or the disk is full.
        LookupError: there is no such owner or group.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner:
                shutil.chown(temporary, owner)
            if group:
                shutil.chown(temporary, group=group)
            os.fchmod(descriptor, mode)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
