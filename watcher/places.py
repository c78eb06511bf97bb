# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of each zone on this host. Loads fast, for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIG_ROOT = Path("/etc/btmm")
RUN_ROOT = Path("/run/btmm")
STATE_ROOT = Path("/var/lib/btmm")

MAIN_FILE = "watcher.json"
KDC_FOLDER = "kdc"
STATUS_FILE = "status.json"
LOCK_FILE = "lock"
METRICS_FILE = "metrics.prom"
LIST_FILE = "crl.pem"  # the owner's list of revoked certificates, as the zone has it, and as the KDC does

SWANCTL_ROOT = Path("/etc/swanctl")
REVOKED_ROOT = SWANCTL_ROOT / "x509crl"  # as charon judges by it
JUDGED_ROOT = Path("/run/btmm-judged")  # root's: by what the tunnels were judged last


@dataclass(frozen=True, slots=True)
class Places:
    """One zone's configuration, its status, its state; `shared` is what the zones of a host have in common."""

    config: Path
    run: Path
    state: Path
    shared: Path


def of_zone(zone: str) -> Places:
    """Return the folders of `zone` (lower case, without final dot)."""
    return Places(CONFIG_ROOT / zone, RUN_ROOT / zone, STATE_ROOT / zone, STATE_ROOT)


def zones() -> list[str]:
    """Return the zones that this host belongs to, in the order of their names."""
    return sorted(path.parent.name for path in CONFIG_ROOT.glob(f"*/{MAIN_FILE}"))
