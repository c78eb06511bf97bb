# SPDX-License-Identifier: GPL-3.0-or-later
"""The status as Prometheus reads it: text format 0.0.4, for node_exporter's textfile collector."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What ages is given as a time of day, as Prometheus advises: the file then stays true between two changes.
_HELP = {
    "up": "Whether the daemon runs.",
    "published": "Whether the host is in the zone.",
    "error": "Whether something is wrong; btmm status says what.",
    "rung": "The way by which the host is reached from outside.",
    "names_last_known": "Whether names are answered from memory, since no zone server answers.",
    "peer": "A peer with a tunnel, and the way to it.",
    "peers": "Peers with a tunnel.",
    "lease_expires_timestamp_seconds": "When the zone forgets the host, unless it is refreshed before.",
    "updates_total": "Updates that the zone took since the daemon started.",
    "last_change_timestamp_seconds": "When the status last changed.",
    "start_timestamp_seconds": "When the daemon started.",
}


def text(zones: Mapping[str, dict[str, Any] | None]) -> str:
    """Return the metrics of all zones of the host; None stands for a daemon that does not run."""
    samples = [sample for zone, status in zones.items() for sample in _samples(zone, status)]
    lines = []
    for name, meaning in _HELP.items():
        own = [(labels, value) for each, labels, value in samples if each == name]
        if own:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP btmm_{name} {meaning}", f"# TYPE btmm_{name} {kind}"]
            lines += [f"btmm_{name}{{{_labels(labels)}}} {value}" for labels, value in own]
    return "".join(f"{line}\n" for line in lines)


def _samples(zone: str, status: dict[str, Any] | None) -> list[tuple[str, dict[str, object], int]]:
    own: dict[str, object] = {"zone": zone}
    if status is None:
        return [("up", own, 0)]
    peers = status.get("peers") or []
    found = [
        ("up", own, 1),
        ("published", own, int(bool(status.get("published")))),
        ("error", own, int(bool(status.get("error")))),
        ("names_last_known", own, int(bool(status.get("last_known")))),
        ("peers", own, len(peers)),
        ("updates_total", own, int(status.get("updates") or 0)),
    ]
    if status.get("rung"):
        found.append(("rung", {**own, "rung": status["rung"]}, 1))
    found += [("peer", {**own, "peer": peer.get("name"), "rung": peer.get("rung") or ""}, 1) for peer in peers]
    for name, key in (("lease_expires", "lease_expires"), ("last_change", "changed"), ("start", "started")):
        seconds = _seconds(status.get(key))
        if seconds is not None:
            found.append((f"{name}_timestamp_seconds", own, seconds))
    return found


def _labels(labels: Mapping[str, object]) -> str:
    return ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(when: object) -> int | None:
    try:
        return int(datetime.fromisoformat(str(when)).timestamp())
    except ValueError:
        return None
