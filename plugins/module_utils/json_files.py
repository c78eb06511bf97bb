# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON files that outlive the process: read leniently, written atomically."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from .atomic import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

_LOGGER = logging.getLogger(__name__)

_unwritten: dict[Path, str] = {}


def read(path: Path) -> dict[str, Any]:
    """Return the object in `path`; empty when there is none, or when it is damaged.

    The files here only spare work (a port to suggest, records to withdraw), so a damaged one must not stop the daemon.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        _LOGGER.warning("%s is ignored, it can't be read: %s", path, err)
        return {}
    return value if isinstance(value, dict) else {}


def write(path: Path, value: dict[str, Any], mode: int = 0o600) -> None:
    """Replace `path`; a full disk is logged once, and costs no more than the memory that the file is."""
    try:
        write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(), mode)
    except OSError as err:
        failed(path, err)
    else:
        written(path)


def failed(path: Path, err: OSError) -> None:
    """Note that a file could not be written or made; logged once."""
    if path not in _unwritten:
        _LOGGER.warning("%s is not written: %s", path, err)
    _unwritten[path] = err.strerror or str(err)


def written(path: Path) -> None:
    """Note that a file could be written; logged where that had failed."""
    if _unwritten.pop(path, None):
        _LOGGER.info("%s is written again", path)


def fault() -> str | None:
    """Return in a few words which file this process could not write when it last tried; None when there is none."""
    return next((f"{path} is not written: {why}" for path, why in _unwritten.items()), None)
