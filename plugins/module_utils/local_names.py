# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host calls its parts of one zone, so that the zones of several owners live on it side by side.

Readable names carry the zone itself. What has no room for it (a link's name, an address) comes from a hash of the zone.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dns.name

# Half of loopback: far from 127.0.0.1 and systemd-resolved's 127.0.0.53, and with 22 bits that differ.
_STUBS = IPv4Address("127.64.0.0")
_STUB_BITS = 22


def zone_text(zone: dns.name.Name) -> str:
    """Return the zone as folders and files are named for it: lower case, without the final dot."""
    return zone.to_text(omit_final_dot=True).lower()


def link_name(zone: dns.name.Name) -> str:
    """Return the name of the watcher's TUN, at most 15 octets as the kernel demands (IFNAMSIZ)."""
    return f"btmm-{_digest(zone)[:4].hex()}"


def stub_address(zone: dns.name.Name) -> IPv4Address:
    """Return the loopback address at which the watcher answers names of the zone."""
    return _STUBS + (int.from_bytes(_digest(zone)[4:8], "big") >> (32 - _STUB_BITS))


def guard_table(zone: dns.name.Name) -> str:
    """Return the name of the nftables table that keeps the zone's packets inside IPsec."""
    return f"btmm_guard_{zone_text(zone)}"


def inbound_connection(zone: dns.name.Name) -> str:
    """Return charon's name of the connection for peers that call; a dot would end a section's name in swanctl.conf."""
    return f"btmm-in-{zone_text(zone).replace('.', '_')}"


def _digest(zone: dns.name.Name) -> bytes:
    return hashlib.sha256(zone_text(zone).encode()).digest()
