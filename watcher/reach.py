# SPDX-License-Identifier: GPL-3.0-or-later
"""By which ways this host is reached, put together of what its network, the gateway and the relay grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Reach

from .portmap.mapping import TUNNEL_PORT

if TYPE_CHECKING:
    from .portmap.mapping import Mapping
    from .rendezvous import Rendezvous
    from .uplink import Uplink


def by_ways(link: Uplink, mapping: Mapping | None, rendezvous: Rendezvous) -> Reach:
    """Return all ways; of a network that grants none, an empty `Reach`."""
    direct = [mapping.outer] if mapping is not None else []
    if link.address6 is not None:
        direct.append(Endpoint(link.address6, TUNNEL_PORT))
    # Behind a NAT the own address is a way, too: for peers on the same LAN, whom the router may not send back in.
    lan = Endpoint(link.address, TUNNEL_PORT) if link.address is not None and link.behind_nat else None
    return Reach(tuple(direct), lan, rendezvous.mediators, rendezvous.relays)


def best_rung(reach: Reach) -> str | None:
    """Return the best way from outside, by the names that tunnels have it."""
    if reach.direct:
        return "direct" if reach.direct[0].address.version == 4 else "direct6"
    return "mediated" if reach.mediators else "relayed" if reach.relays else None
