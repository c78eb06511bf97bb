# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of segments and addresses in them: IPv4, IPv6 or one of each."""

import re
from collections.abc import Iterator
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from lab.errors import LabError

Net = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
AddressOfInterface = IPv4Interface | IPv6Interface
_SEGMENT = re.compile(r"[a-z][a-z0-9-]{0,11}")  # "br-" and the name fit in the 15 octets of an interface name


def networks(name: str, given: object) -> tuple[Net, ...]:
    """Check a segment of the definition: a network, or a list of two, one of each family."""
    if not _SEGMENT.fullmatch(name):
        raise LabError(f"segment name {name!r} must be 1 to 12 lower-case letters, digits and hyphens, a letter first")
    found = tuple(_network(name, each) for each in _texts(given))
    if not found or len({net.version for net in found}) < len(found):
        raise LabError(f"segment {name} needs one IPv4 network, one IPv6 network, or one of each")
    return found


def addresses_in(nets: tuple[Net, ...], given: object, where: str) -> tuple[AddressOfInterface, ...]:
    """Check that these are addresses a host may have in the segment, one of a family at most.

    Args:
        nets: the segment's networks.
        given: an address, or a list of them.
        where: starts the sentence if not.
    """
    found = tuple(_address_in(nets, each, where) for each in _texts(given))
    if not found or len({address.version for address in found}) < len(found):
        raise LabError(f"{where} needs an address, or one IPv4 and one IPv6 address")
    return found


def leases(net: Net) -> Iterator[AddressOfInterface]:
    """Addresses in the upper half of the network, as a router would lease them."""
    for offset in range(net.num_addresses // 2 + 1, net.num_addresses - 1):
        yield ip_interface(f"{net[offset]}/{net.prefixlen}")


def _texts(given: object) -> list[object]:
    return given if isinstance(given, list) else [given]


def _network(name: str, text: object) -> Net:
    try:
        return ip_network(str(text))
    except ValueError as error:
        raise LabError(f"segment {name}: {text!r} is not a network such as 192.168.10.0/24") from error


def _address_in(nets: tuple[Net, ...], text: object, where: str) -> AddressOfInterface:
    try:
        address = ip_address(str(text))
    except ValueError as error:
        raise LabError(f"{where}: {text!r} is not an IP address") from error
    for net in nets:
        if address in net and address not in (net.network_address, net.broadcast_address):
            return ip_interface(f"{address}/{net.prefixlen}")
    raise LabError(f"{where}: {address} is not a host's address in {' or '.join(map(str, nets))}")
