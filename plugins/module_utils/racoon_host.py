# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host can have its tunnels by racoon, found out before anything is written to it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import probe
from .ipsec import InvalidTunnel, Remote
from .ipsec_racoon import outer_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAMS = ["racoon", "setkey"]
SWANCTL = Path("/etc/swanctl/conf.d")
ZONES = Path("/etc/btmm")
UNITS = Path("/etc/systemd/system")
_SERVED = ("btmm-", "-policies.conf")  # around the zone's name: what the role tunnel adds to racoon's unit
STRONGSWAN = "set tunnel_backend to strongswan"


def served() -> list[str]:
    """Return the zones that racoon serves on this host."""
    before, after = _SERVED
    found = UNITS.glob(f"*.service.d/{before}*{after}")
    return sorted(path.name.removeprefix(before).removesuffix(after) for path in found)


def faults(given: Mapping[str, Any], esp_fault: str) -> list[str]:
    """Return cause and fix of all that is in the way, a clause each.

    Args:
        given: `identity`, `key_type`, `outer` and `peers` (`identity`, `ula`, `address`) as the inventory has them.
        esp_fault: why the kernel can't do ESP, "" when it can.
    """
    found = []
    if given["key_type"] != "rsa":
        found.append("racoon signs by RSA keys only; set identity_key_type to rsa, here and for its peers")
    if missing := probe.missing_tools(PROGRAMS):
        found.append(
            f"it lacks {' and '.join(missing)}, and Debian has no package of them since 12; install ipsec-tools 0.8.2 "
            f"by other means, or {STRONGSWAN}"
        )
    if esp_fault:
        found.append(f"racoon needs the kernel's ESP ({esp_fault}); load the modules esp6 and af_key, or {STRONGSWAN}")
    if others := sorted(path.name for path in SWANCTL.glob("btmm-*.conf")):
        found.append(
            f"strongSwan serves it still ({', '.join(others)}), and both need the same ports; remove that first by "
            "tunnel_state: absent"
        )
    zone = given["identity"].partition(".")[2]
    if others := sorted({path.parent.name for path in ZONES.glob("*/setkey.conf")} - {zone}):
        found.append(f"racoon has one file, which is that of zone {', '.join(others)}; {STRONGSWAN} for both")
    return [*found, *_ways(given)]


def _ways(given: Mapping[str, Any]) -> Iterator[str]:
    try:
        outer = [ipaddress.ip_address(text) for text in given["outer"]]
        peers = [_remote(peer) for peer in given["peers"]]
    except ValueError as error:  # also InvalidTunnel
        yield f"{error}; correct tunnel_outer and tunnel_peers"
        return
    if not outer:
        yield "nothing says at which of its addresses racoon is to listen; name them in tunnel_outer"
        return
    for peer in peers:
        try:
            outer_for("linux", given["identity"], outer, peer)
        except InvalidTunnel as error:
            yield str(error)


def _remote(peer: Mapping[str, Any]) -> Remote:
    address = ipaddress.ip_address(peer["address"]) if peer.get("address") else None
    return Remote(peer["identity"], ipaddress.IPv6Address(peer["ula"]), address)
