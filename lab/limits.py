# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the machine that a few booted systems reach."""

from pathlib import Path

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
# A host takes about eight; all containers of root share the kernel's default of 128, and systemd dies without a word.
WANTED = 2048


def raise_inotify(limit: Path = INOTIFY) -> int | None:
    """Raise the number of inotify instances per user until the next boot; the former limit, or None if that will do."""
    former = int(limit.read_text())
    if former >= WANTED:
        return None
    limit.write_text(f"{WANTED}\n")
    return former
