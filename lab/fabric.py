# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's own network: namespaces, bridges and cables, with no link to the machine's network.

Each fleet has a namespace `btmm-<fleet>` with one bridge per segment, and each host a namespace `btmm-<fleet>-<host>`.
A cable is a veth pair; the end at the bridge is named for host and interface and carries, as its alias, the addresses
that belong to it: the fabric is its own record of what is plugged where.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.net import AddressOfInterface, leases
from lab.run import run
from lab.topology import Host, Interface, Topology

NETNS = Path("/run/netns")
_IFNAMSIZ = 15


def host_netns(fleet: str, host: str) -> str:
    """Name of the host's network namespace, and of its container."""
    return f"btmm-{fleet}-{host}"


def fabric_netns(fleet: str) -> str:
    """Name of the namespace that holds the fleet's bridges."""
    return f"btmm-{fleet}"


def port(host: str, interface: str) -> str:
    """Name of the cable's end at the bridge: unique in the fleet, at most 15 octets."""
    name = f"{host}.{interface}"
    if len(name) <= _IFNAMSIZ:
        return name
    return f"{host[:6]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Plug:
    """Where an interface is plugged in: its segment (None: nowhere) and its addresses."""

    segment: str | None
    addresses: tuple[AddressOfInterface, ...]


class Fabric:
    """The network of one fleet."""

    def __init__(self, fleet: str, topology: Topology) -> None:
        self.fleet = fleet
        self.topology = topology
        self.netns = fabric_netns(fleet)

    def ensure(self) -> None:
        """Make the bridges that are not there yet."""
        if not (NETNS / self.netns).exists():
            run(["ip", "netns", "add", self.netns])
        there = {link["ifname"] for link in self._links()}
        lines: list[str] = []
        for segment in self.topology.segments:
            if (bridge := f"br-{segment}") not in there:
                lines += [f"link add {bridge} type bridge", f"link set {bridge} addrgenmode none up"]
        _batch(self.netns, lines)

    def attach(self, host: Host, plugs: Iterable[tuple[Interface, Plug]]) -> None:
        """Give a host a new namespace with its interfaces as plugged; everything is there before the host boots."""
        netns = host_netns(self.fleet, host.name)
        run(["ip", "netns", "add", netns])
        _batch(netns, ["link set lo up"])
        for interface, plug in plugs:
            end = port(host.name, interface.name)
            _batch(
                self.netns,
                [
                    f"link add {end} type veth peer name {interface.name} netns {netns}",
                    f"link set {end} addrgenmode none",
                ],
            )
            _batch(netns, [f"link set {interface.name} up"])
            if plug.segment and plug.addresses:
                self.plug(host, interface.name, plug.segment, plug.addresses)

    def detach(self, host: Host) -> None:
        """Remove a host's namespace; its cables vanish with it."""
        netns = host_netns(self.fleet, host.name)
        # The kernel removes the far ends some time after the namespace; their names are needed at once.
        for interface in host.interfaces:
            with contextlib.suppress(LabError):
                run(["ip", "-n", self.netns, "link", "del", port(host.name, interface.name)])
        if (NETNS / netns).exists():
            run(["ip", "netns", "del", netns])

    def plug(self, host: Host, interface: str, segment: str, addresses: tuple[AddressOfInterface, ...]) -> None:
        """Plug the cable into a segment: the host sees the link go, then come with the new addresses and gateways."""
        self.unplug(host, interface)
        end = port(host.name, interface)
        alias = " ".join(map(str, addresses))
        _batch(
            self.netns, [f"link set {end} master br-{segment}", f'link set {end} alias "{alias}"', f"link set {end} up"]
        )
        for address in addresses:
            _batch(host_netns(self.fleet, host.name), self._lines(interface, segment, address), address.version)

    def _lines(self, interface: str, segment: str, address: AddressOfInterface) -> list[str]:
        # Without duplicate address detection (RFC 4862 section 5.4): for a second the address could not be used.
        flag = "nodad" if address.version == 6 else "broadcast +"
        ways = [("default", gateway) for gateway in self.topology.gateways(segment)]
        ways += [(str(net), router) for net, router in self.topology.routes(segment).items()]
        return [f"address add {address} {flag} dev {interface}"] + [
            f"route replace {net} via {via} dev {interface} proto static"
            for net, via in ways
            if via.version == address.version and via != address.ip
        ]

    def unplug(self, host: Host, interface: str) -> None:
        """Pull the cable: the host loses the link, and the addresses with what was routed by them."""
        end = port(host.name, interface)
        _batch(self.netns, [f"link set {end} down", f"link set {end} nomaster", f"link set {end} alias -"])
        netns = host_netns(self.fleet, host.name)
        _batch(netns, [f"address flush dev {interface} scope global"])
        # Unlike those of IPv4, routes of IPv6 outlive the address that led to their gateway.
        _batch(netns, [f"address flush dev {interface} scope global", f"route flush dev {interface} proto static"], 6)

    def plugs(self) -> dict[str, Plug]:
        """What is plugged where, by port name."""
        found: dict[str, Plug] = {}
        for link in self._links():
            text = str(link.get("ifalias", "-"))
            master = link.get("master")
            found[link["ifname"]] = Plug(
                str(master).removeprefix("br-") if master else None,
                tuple(map(ip_interface, text.split())) if text != "-" else (),
            )
        return found

    def free_addresses(self, segment: str) -> tuple[AddressOfInterface, ...]:
        """A free address in each network of the segment, as a router would lease it; LabError if none is left."""
        taken = {address.ip for plug in self.plugs().values() for address in plug.addresses}
        taken |= {a.ip for host in self.topology.hosts.values() for i in host.interfaces for a in i.addresses}
        found = []
        for net in self.topology.segment(segment):
            free = next((address for address in leases(net) if address.ip not in taken), None)
            if free is None:
                raise LabError(f"segment {segment} has no free address in {net}; name one, or unplug a host")
            found.append(free)
        return tuple(found)

    def remove(self) -> None:
        """Remove all namespaces of the fleet, and with them bridges and cables."""
        for path in (*NETNS.glob(f"{self.netns}-*"), *NETNS.glob(self.netns)):
            run(["ip", "netns", "del", path.name])

    def _links(self) -> list[dict[str, Any]]:
        if not (NETNS / self.netns).exists():
            return []
        return list(json.loads(run(["ip", "-n", self.netns, "-j", "link", "show"]) or "[]"))


def addresses(netns: str) -> dict[str, list[str]]:
    """Global addresses of a namespace's interfaces as they are now."""
    if not (NETNS / netns).exists():
        return {}
    shown = json.loads(run(["ip", "-n", netns, "-j", "address", "show", "scope", "global"]) or "[]")
    return {
        link["ifname"]: found
        for link in shown
        if (found := [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", []) if a])
    }


def _batch(netns: str, lines: list[str], family: int = 4) -> None:
    if lines:
        run(["ip", f"-{family}", "-n", netns, "-batch", "-"], stdin="\n".join([*lines, ""]).encode())
