# SPDX-License-Identifier: GPL-3.0-or-later
"""By which ways this host can be reached, put together of what the network, the gateway and the relay grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Reach

from .portmap.mapping import TUNNEL_PORT

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Server

    from .portmap.mapping import Mapping
    from .uplink import Uplink


def reach(
    link: Uplink, mapping: Mapping | None, mediators: tuple[Server, ...] = (), relays: tuple[Server, ...] = ()
) -> Reach:
    """Return the ways; none at all is an empty `Reach`, which is false."""
    direct = [] if mapping is None else [mapping.outer]
    if link.address6 is not None and all(endpoint.address != link.address6 for endpoint in direct):
        direct.append(Endpoint(link.address6, TUNNEL_PORT))
    # Behind a NAT the own address is a way, too: for peers on the same LAN, whom the router may not send back in.
    own = link.address
    inner = Endpoint(own, TUNNEL_PORT) if own is not None and all(own != each.address for each in direct) else None
    return Reach(direct=tuple(direct), lan=inner, mediators=mediators, relays=relays)
