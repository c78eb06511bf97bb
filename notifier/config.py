# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemon is told: /etc/btmm-notifier/daemon.json, and ZONE.json for each owner's zone of this host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.names import check_label
from ansible_collections.btmm.fleet.plugins.module_utils.settings import (
    BadSetting,
    Settings,
    addresses,
    domain_name,
    is_a,
    port,
    read_json,
)

from .access import Domain
from .errors import ConfigError
from .upstream import Primary

if TYPE_CHECKING:
    import dns.tsig

CONFIG_DIR = Path("/etc/btmm-notifier")
MAIN_FILE = "daemon.json"
_FIX = "run the role notifier for this host again"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process and one client may use, so that no client takes it from the others."""

    sessions: int = 12000  # of each service, all clients together
    sessions_per_address: int = 32
    subscriptions_per_session: int = 1000
    subscriptions_per_client: int = 4000  # in all its sessions
    llqs: int = 20000  # by UDP and TCP, and as many by TLS, all clients together
    llqs_per_client: int = 1000
    llq_burst: int = 200  # datagrams at once from one IPv4 address or IPv6 /64 that has no LLQ yet
    llq_per_s: int = 50  # the same, later
    llq_verified_per_s: int = 1000  # datagrams whose signature is looked at, of all these together
    queued_bytes: int = 262144  # what a slow reader may owe before it is dropped


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; 0 for not at all."""

    notify: int = 5453
    push: int = 8853
    llq: int = 5352
    llq_tls: int = 5533


@dataclass(frozen=True, slots=True)
class Served:
    """One owner's zones: who may know them, where they come from, and who may send a NOTIFY, signed or not."""

    domain: Domain
    primary: Primary
    notify_keys: tuple[dns.tsig.Key, ...]
    notify_from: frozenset[str]


@dataclass(frozen=True, slots=True)
class Config:
    """All that the daemon is told. NOTIFY is listened for at `notify_addresses`, clients at `addresses`."""

    served: tuple[Served, ...]
    notify_addresses: tuple[str, ...]
    addresses: tuple[str, ...]
    ports: Ports = field(default_factory=Ports)
    limits: Limits = field(default_factory=Limits)


def load(directory: Path = CONFIG_DIR) -> Config:
    """Read and check the configuration.

    Raises:
        ConfigError: a file is missing, unreadable or wrong; one sentence with file, cause and fix.
    """
    try:
        main = _settings(directory / MAIN_FILE)
        ports = main.below("ports")
        limits = main.below("limits")
        served = tuple(_served(_settings(path)) for path in sorted(zone_files(directory)))
        return Config(
            served,
            main.get("notify_addresses", addresses),
            main.get("addresses", addresses),
            Ports(**{each.name: ports.get(each.name, _port_or_none) for each in fields(Ports)}),
            Limits(**{each.name: limits.get(each.name, is_a(int)) for each in fields(Limits)}),
        )
    except BadSetting as err:
        raise ConfigError(str(err)) from err


def zone_files(directory: Path) -> list[Path]:
    """Return the files of the zones."""
    return [path for path in directory.glob("*.json") if path.name != MAIN_FILE]


def digest(directory: Path = CONFIG_DIR) -> str:
    """Return a short digest of the files, by which one sees whether the daemon has read the latest of them."""
    sums = hashlib.sha256()
    for path in sorted(directory.glob("*.json")):
        sums.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sums.hexdigest()[:16]


def _settings(path: Path) -> Settings:
    values = read_json(path, _FIX)
    if not isinstance(values, dict):
        raise BadSetting(f"{path} holds no object: {_FIX}")
    return Settings(path, values, _FIX)


def _served(settings: Settings) -> Served:
    domain = Domain(
        settings.get("zone", domain_name),
        settings.get("reverse_zone", domain_name),
        settings.get("server_name", is_a(str)),
        settings.get("credentials", Path),
        settings.values.get("public") is True,
    )
    keys = domain.keys_of(settings.get("label", check_label))
    primary = settings.below("primary")
    return Served(
        domain,
        Primary(
            primary.get("name", is_a(str)),
            primary.get("addresses", addresses),
            primary.get("port", port),
            domain.directory / "ca.pem",
            keys[0],
        ),
        tuple(keys),
        frozenset(settings.get("notify_from", addresses)),
    )


def _port_or_none(value: object) -> int:
    return 0 if value == 0 else port(value)
