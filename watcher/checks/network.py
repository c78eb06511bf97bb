# SPDX-License-Identifier: GPL-3.0-or-later
"""From the daemon to its gateway."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from watcher.digest import digest
from watcher.places import STATUS_FILE
from watcher.sleep import runs

from . import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from . import Patient

_LEAST_FREE = 1 << 20  # octets; all that the daemon keeps takes a few MB at most


def check(patient: Patient) -> Iterator[Finding]:
    """Look at the daemon, its disk, the way out, and the mapping at the gateway."""
    yield _daemon(patient)
    yield _disk(patient)
    yield _way_out(patient)
    yield _gateway(patient)


def _daemon(patient: Patient) -> Finding:
    unit = f"btmm-watcher@{patient.zone}"
    if not runs(patient.places.run / STATUS_FILE):
        return Finding("daemon", "it does not run", f"systemctl restart {unit}; its journal tells why it ended")
    if patient.status.get("config") != digest(patient.places.config):
        return Finding("daemon", "it has not read its latest configuration", f"systemctl reload {unit}")
    return Finding("daemon", f"runs since {patient.status.get('started')}")


def _disk(patient: Patient) -> Finding:
    told = patient.status.get("disk")
    try:
        free = shutil.disk_usage(patient.places.state).free
    except OSError as err:
        return Finding("disk", f"{patient.places.state}: {err.strerror}", "run the watcher role for this host again")
    if told or free < _LEAST_FREE:
        return Finding("disk", told or f"{patient.places.state} has {free} octets left", "make room on it")
    return Finding("disk", f"{free >> 20} MB left at {patient.places.state}")


def _way_out(patient: Patient) -> Finding:
    """Ask the kernel for its way to the zone server; connect() on UDP sends nothing."""
    addresses = patient.config.server.addresses
    causes = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect((address, patient.config.server.port))
            except OSError as err:
                causes.append(f"{address}: {err.strerror}")
            else:
                return Finding("link", f"{sock.getsockname()[0]} leads to the zone server {address}")
    fix = "plug the cable in, join a network, or mend DHCP: 'ip route' shows no way there"
    return Finding("link", f"no way to the zone server ({', '.join(causes)})", fix)


def _gateway(patient: Patient) -> Finding:
    status = patient.status
    outer, mapping = status.get("outer"), status.get("mapping") or {}
    if not outer and status.get("relay"):
        why = status.get("unmapped") or f"maps nothing ({status.get('nat')})"
        return Finding("gateway", f"{why}; reached by the relay {status['relay']}")
    if not outer:
        why = status.get("error") or "no outer address is known"
        return Finding("gateway", str(why), "switch PCP, NAT-PMP or UPnP on in the gateway's settings")
    if not mapping.get("gateway"):
        return Finding("gateway", f"none needed: reached at {outer}")
    kind = f", {status['nat']}" if status.get("nat") else ""
    return Finding("gateway", f"{mapping['gateway']} maps {outer} by {mapping['method']}{kind}")
