# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in memory, for commands that take a path to what must not be on disk, or should leave nothing there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """Yield the descriptor of a file with this content, which is gone afterwards; a command has to be passed it."""
    descriptor = os.memfd_create("btmm")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """Return the path by which a command that was passed the descriptor opens the file anew, at its beginning."""
    return f"/proc/self/fd/{descriptor}"
