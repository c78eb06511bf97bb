# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either the old or the new one, never half of one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# `shutil` and `tempfile` would cost a daemon 0.5 MB of memory, so neither is loaded here at the top.

_ABANDONED_S = 60.0  # nobody takes that long to write a file


def write_atomic(
    path: Path, content: bytes, mode: int = 0o600, owner: str | None = None, group: str | None = None
) -> None:
    """Replace ``path`` by ``content`` with permission bits ``mode``; on any failure the old file stays as it was.

    Raises:
        OSError: the directory is missing or not writable, or the disk is full.
        LookupError: there is no such owner or group.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner or group:
                import shutil  # noqa: PLC0415

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


def sweep(directory: Path) -> None:
    """Remove what writers left that were killed between creating a file and giving it its name."""
    for temporary in directory.glob(".*.new"):
        try:
            if time.time() - temporary.stat().st_mtime > _ABANDONED_S:
                temporary.unlink()
        except OSError:
            continue  # its writer was quicker, or nothing can be removed here: no harm
