# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's configuration: /etc/btmm/ZONE/{watcher,services,resolver}.json and the TSIG secret."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dns.exception
import dns.name
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils import lease, local_names, names, records, settings
from ansible_collections.btmm.fleet.plugins.module_utils.realm import read_realm
from ansible_collections.btmm.fleet.plugins.module_utils.settings import BadSetting, Settings, is_a, read_json

from .errors import ConfigError
from .places import KDC_FOLDER, MAIN_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """The zone server: the name its certificate carries, and the addresses to try in turn."""

    name: str
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Config:
    """All that the daemon is told. Everything else it learns from the network."""

    host: records.Host
    prefix: IPv6Network
    server: Server
    ca: Path
    certificate: Path
    key: dns.tsig.Key
    secondaries: tuple[Server, ...]
    stub_address: str
    stub_port: int
    resolved: bool
    lease_s: int

    @property
    def zone(self) -> dns.name.Name:
        """The owner's zone, absolute."""
        return self.host.zone

    @property
    def reverse_zone(self) -> dns.name.Name:
        """The ip6.arpa zone of the owner's /48."""
        return names.reverse_zone(self.prefix)

    @property
    def link_name(self) -> str:
        """The TUN to which systemd-resolved ties the zone's names."""
        return local_names.link_name(self.zone)

    @property
    def host_name(self) -> dns.name.Name:
        """This host's own name, H.Z."""
        return names.host_name(self.host.label, self.zone)


def load(directory: Path) -> Config:
    """Read and check the configuration.

    Raises:
        ConfigError: a file is missing, unreadable or wrong; one sentence with file, cause and fix.
    """
    try:
        return _load(directory)
    except BadSetting as err:
        raise ConfigError(str(err)) from err


def _load(directory: Path) -> Config:
    path = directory / MAIN_FILE
    main = read_json(path, _FIX)
    services = read_json(directory / "services.json", _FIX, missing=[])
    resolver = read_json(directory / "resolver.json", _FIX, missing={})
    if not isinstance(main, dict) or not isinstance(services, list) or not isinstance(resolver, dict):
        raise ConfigError(f"{directory}: watcher.json and resolver.json hold an object, services.json a list: {_FIX}")
    view = Settings(path, main, _FIX)
    try:
        host = records.host_from_config({**main, "services": services})
    except (ValueError, TypeError, KeyError) as err:
        raise ConfigError(f"{path} or services.json is wrong: {err}: {_FIX}") from err
    try:
        host = replace(host, realm=read_realm(directory / KDC_FOLDER))
    except (ValueError, OSError) as err:
        raise ConfigError(
            f"the Kerberos realm in {directory / KDC_FOLDER} is damaged: {err}: run the lkdc role"
        ) from err
    tsig = view.below("tsig")
    stub = view.below("stub")
    return Config(
        host=host,
        prefix=view.get("prefix", IPv6Network),
        server=_server(path, view.get("server", is_a(dict))),
        secondaries=tuple(_server(path, each) for each in view.get("secondaries", _servers))
        if "secondaries" in main
        else (),
        ca=view.get("ca", Path),
        certificate=view.get("certificate", Path),
        key=dns.tsig.Key(
            tsig.get("name", settings.domain_name)
            if "name" in tsig.values
            else names.tsig_key_name(host.label, host.zone),
            _secret(tsig.get("secret_file", Path)),
            tsig.get("algorithm", is_a(str)),
        ),
        stub_address=stub.get("address", lambda text: str(IPv4Address(text))),
        stub_port=stub.get("port", settings.port),
        resolved=resolver.get("resolved") is True,
        lease_s=view.get("lease", _lease) if "lease" in main else lease.LEASE_S,
    )


_FIX = "run the watcher role for this host again"


def _server(path: Path, values: Mapping[str, Any]) -> Server:
    view = Settings(path, values, _FIX)
    return Server(
        view.get("name", is_a(str)), view.get("addresses", settings.addresses), view.get("port", settings.port)
    )


def _servers(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("expected a list of servers")
    return value


def _secret(path: Path) -> bytes:
    """The TSIG secret; its text never gets into a message."""
    try:
        secret = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except FileNotFoundError:
        raise ConfigError(f"the TSIG secret {path} does not exist: {_FIX}") from None
    except (OSError, UnicodeDecodeError, binascii.Error):
        raise ConfigError(f"the TSIG secret {path} is not readable base64: {_FIX}") from None
    if len(secret) < 16:
        raise ConfigError(f"the TSIG secret {path} is shorter than 128 bits: {_FIX}")
    return secret


def _lease(value: object) -> int:
    if not isinstance(value, int) or not lease.MINIMUM_S <= value <= lease.MAXIMUM_S:
        raise ValueError(f"{value!r} is not {lease.MINIMUM_S} to {lease.MAXIMUM_S} seconds")
    return value


def is_peer_address(config: Config, address: IPv6Address) -> bool:
    """Whether `address` belongs to another host of the owner's fleet."""
    return address in config.prefix and address != config.host.ula
