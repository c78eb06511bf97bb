# SPDX-License-Identifier: GPL-3.0-or-later
"""What several subcommands need. Loads fast."""

from __future__ import annotations

import json
from typing import Any

from watcher import places


def read_status(zone: str) -> dict[str, Any] | None:
    """Return what the zone's daemon says of itself; None when it does not run."""
    try:
        value = json.loads((places.of_zone(zone).run / places.STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def host() -> str:
    """Return the name with which messages begin."""
    import socket  # noqa: PLC0415

    return socket.gethostname()


def unit(zone: str) -> str:
    """Return the name of the zone's service."""
    return f"btmm-watcher@{zone}"


def not_running(zone: str) -> str:
    """Return the sentence for a daemon that has no status."""
    return f"the daemon does not run: see 'systemctl status {unit(zone)}'"


def cannot_browse(zone: str, cause: Exception) -> str:
    """Return why a zone can't be browsed; what the daemon itself says of it is nearer to the cause."""
    status = read_status(zone)
    return not_running(zone) if status is None else status.get("error") or f"{zone} can't be browsed: {cause}"


def as_json(value: object) -> str:
    """Return a value as people and programs read it."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def safe(text: str) -> str:
    """Return what another host wrote without the characters that command a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
