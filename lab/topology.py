# SPDX-License-Identifier: GPL-3.0-or-later
"""What the definition file says: images, segments, hosts."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.net import Address, AddressOfInterface, Net, addresses_in, networks

INTERFACES = {"host": ("eth0",), "router": ("wan", "lan")}
NATS = ("random", "cone")
MAPPINGS = (True, False, "refused")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Image:
    """A Debian release with packages."""

    release: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """A host's interface: its name, the segment it is plugged into, its addresses with the segment's prefix lengths."""

    name: str
    segment: str
    addresses: tuple[AddressOfInterface, ...]


@dataclass(frozen=True, slots=True)
class Router:
    """How a router treats the IPv4 of its LAN; IPv6 is routed and neither translated nor filtered.

    nat: `random` draws a port for every flow, so each peer sees another one (address-dependent mapping, RFC 4787
    section 4.1); `cone` preserves the port, so all peers see the same.
    mapping: whether it answers NAT-PMP, PCP and UPnP; `refused` answers that it is not authorized.
    """

    nat: str
    mapping: bool | str


@dataclass(frozen=True, slots=True)
class Host:
    """A machine; kind is `host` or `router`, page says whether it serves a web page that names it.

    router: None for a host, and for a router whose LAN has no IPv4.
    """

    name: str
    image: Image
    kind: str
    interfaces: tuple[Interface, ...]
    page: bool
    router: Router | None = None

    @property
    def uplink(self) -> Interface:
        """The interface `plug` moves: eth0 of a host, wan of a router."""
        return self.interfaces[0]


@dataclass(frozen=True, slots=True)
class Topology:
    """A fleet's definition."""

    segments: Mapping[str, tuple[Net, ...]]
    hosts: Mapping[str, Host]

    def gateways(self, segment: str) -> tuple[Address, ...]:
        """Addresses of the router whose LAN side is on the segment, one of a family."""
        for host in self.hosts.values():
            for interface in host.interfaces:
                if interface.name == "lan" and interface.segment == segment:
                    return tuple(address.ip for address in interface.addresses)
        return ()

    def routes(self, segment: str) -> dict[IPv6Network, IPv6Address]:
        """IPv6 networks behind the routers whose WAN side is on the segment, and each one's way."""
        found: dict[IPv6Network, IPv6Address] = {}
        for host in self.hosts.values():
            if host.kind == "router" and host.uplink.segment == segment:
                via = [address.ip for address in host.uplink.addresses if address.version == 6]
                nets = [address.network for address in host.interfaces[1].addresses if address.version == 6]
                found.update(zip(nets, via, strict=False))
        return found

    def host(self, name: str) -> Host:
        """The host of that name; LabError when there is none."""
        if name not in self.hosts:
            raise LabError(f"no host {name!r} in this fleet; there are {', '.join(self.hosts)}")
        return self.hosts[name]

    def segment(self, name: str) -> tuple[Net, ...]:
        """The networks of that segment; LabError when there is none."""
        if name not in self.segments:
            raise LabError(f"no segment {name!r} in this fleet; there are {', '.join(self.segments)}")
        return self.segments[name]


def load(path: Path) -> Topology:
    """Read a definition file; LabError says in one sentence what is wrong with it and where."""
    try:
        return parse(_read(path))
    except OSError as error:
        raise LabError(f"cannot read topology {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"topology {path} is not TOML: {error}") from error
    except LabError as error:
        raise LabError(f"topology {path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Return a file's tables, on top of those of the file that it extends."""
    with path.open("rb") as file:
        data = tomllib.load(file)
    if "extends" not in data:
        return data
    base = _read(path.parent / str(data.pop("extends")))
    for key, value in data.items():
        base[key] = {**base.get(key, {}), **value} if isinstance(value, dict) else value
    return base


def parse(data: Mapping[str, Any]) -> Topology:
    """Turn a definition (shape: see topology.toml) into a Topology; LabError when it contradicts itself."""
    _only(data, "the file", "packages", "images", "segments", "hosts")
    common = _packages(data, "packages")
    images = {name: _image(name, table, common) for name, table in _table(data, "images").items()}
    segments = {name: networks(name, nets) for name, nets in _table(data, "segments").items()}
    hosts: dict[str, Host] = {}
    owners: dict[Address, str] = {}
    for name, table in _table(data, "hosts").items():
        host = hosts[name] = _host(name, table, images, segments)
        for address in (address.ip for interface in host.interfaces for address in interface.addresses):
            if address in owners:
                raise LabError(f"address {address} is given to both {owners[address]} and {name}; give one another")
            owners[address] = name
    _one_router_each(hosts)
    return Topology(segments, hosts)


def _host(name: str, table: object, images: Mapping[str, Image], segments: Mapping[str, tuple[Net, ...]]) -> Host:
    if not _LABEL.fullmatch(name):
        raise LabError(f"host name {name!r} must be lower-case letters, digits and inner hyphens, 63 at most")
    where = f"host {name}"
    given = _only(table, where, "image", "kind", "page", "nat", "mapping", "interfaces")
    image, kind, page = str(given.get("image")), str(given.get("kind", "host")), given.get("page", False)
    if image not in images:
        raise LabError(f"{where} wants image {image!r}, which is not defined; there are {', '.join(images)}")
    if kind not in INTERFACES:
        raise LabError(f"{where} is of kind {kind!r}; it must be host or router")
    if not isinstance(page, bool):
        raise LabError(f"{where}: page must be true or false")
    plugs = _table(given, "interfaces", where)
    if set(plugs) != set(INTERFACES[kind]):
        raise LabError(f"{where} is a {kind} and must have the interfaces {' and '.join(INTERFACES[kind])}")
    found = tuple(_interface(f"{where}, {key}", key, plugs[key], segments) for key in INTERFACES[kind])
    return Host(name, images[image], kind, found, page, _router(where, kind, found, given))


def _router(where: str, kind: str, interfaces: tuple[Interface, ...], given: Mapping[str, Any]) -> Router | None:
    translates = kind == "router" and any(address.version == 4 for address in interfaces[1].addresses)
    if not translates:
        for key in ("nat", "mapping"):
            if key in given:
                raise LabError(f"{where} has {key!r}, but is no router with IPv4 on its LAN")
        return None
    router = Router(given.get("nat", "random"), given.get("mapping", True))
    if router.nat not in NATS:
        raise LabError(f"{where}: nat must be {' or '.join(NATS)}")
    if router.mapping not in MAPPINGS:
        raise LabError(f'{where}: mapping must be true, false or "refused"')
    return router


def _interface(where: str, name: str, table: object, segments: Mapping[str, tuple[Net, ...]]) -> Interface:
    given = _only(table, where, "segment", "address")
    segment = str(given.get("segment"))
    if segment not in segments:
        raise LabError(f"{where} is on segment {segment!r}, which is not defined; there are {', '.join(segments)}")
    return Interface(name, segment, addresses_in(segments[segment], given.get("address"), where))


def _one_router_each(hosts: Mapping[str, Host]) -> None:
    routers: dict[str, str] = {}
    for host in hosts.values():
        for interface in host.interfaces:
            if interface.name == "lan" and routers.setdefault(interface.segment, host.name) != host.name:
                raise LabError(
                    f"segment {interface.segment} has two routers, {routers[interface.segment]} and {host.name}"
                )


def _image(name: str, table: object, common: tuple[str, ...]) -> Image:
    given = _only(table, f"image {name}", "release", "packages")
    release = given.get("release")
    if not isinstance(release, str) or not _LABEL.fullmatch(release):
        raise LabError(f"image {name}: release {release!r} is not the name of a Debian release")
    return Image(release, common + _packages(given, f"image {name}, packages"))


def _packages(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    names = table.get("packages", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LabError(f"{where} must be a list of package names")
    return tuple(names)


def _table(data: Mapping[str, Any], key: str, where: str = "the file") -> Mapping[str, Any]:
    table = data.get(key)
    if not isinstance(table, dict) or not table:
        raise LabError(f"{where} needs a table {key!r} with at least one entry")
    return table


def _only(table: object, where: str, *known: str) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise LabError(f"{where} must be a table with {', '.join(known)}")
    for key in table:
        if key not in known:
            raise LabError(f"{where} has {key!r}, which means nothing here; known are {', '.join(known)}")
    return table
