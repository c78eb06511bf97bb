# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page shows of a zone, as JSON: the zone's hosts, and what this host's daemon knows of tunnels to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import links

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.btmm.fleet.plugins.module_utils.browse import Offer

    from .survey import Surveyed


def describe(hosts: Iterable[Surveyed], status: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the hosts in the order of their titles, with the tunnels to them.

    A host that offers nothing is in no list of the zone; it is shown when it is this one, or a tunnel leads to it.

    Args:
        hosts: what the zone says.
        status: the daemon's own file; None when it does not run.
    """
    told = status or {}
    own = str(told.get("host", ""))
    tunnels = {str(peer.get("name", "")): peer for peer in told.get("peers", ())}
    shown = {str(host.found.name.to_text(omit_final_dot=True)): _plain(host) for host in hosts}
    for name in (own, *tunnels):
        if name and name not in shown:
            shown[name] = _unlisted(name)
    for name, host in shown.items():
        tunnel = tunnels.get(name)
        if name == own:
            host.update(state="here", rung=told.get("rung"), outer=told.get("outer"))
        elif tunnel is not None:
            host.update(state="tunnel", rung=tunnel.get("rung"), outer=tunnel.get("outer"))
    return sorted(shown.values(), key=lambda host: (host["title"].casefold(), host["name"]))


def _plain(host: Surveyed) -> dict[str, Any]:
    name = host.found.name.to_text(omit_final_dot=True)
    return {
        "name": name,
        "title": host.found.title,
        "model": host.found.model,
        "icon": links.icon(host.found.model),
        "state": "idle" if host.rung else "unreachable",
        "rung": host.rung,
        "outer": None,
        "seen": host.refreshed.isoformat() if host.refreshed else None,
        "services": _services(name, host.found.title, host.found.offers),
    }


def _unlisted(name: str) -> dict[str, Any]:
    bare: dict[str, Any] = {"model": None, "icon": links.icon(None), "seen": None, "services": []}
    return {"name": name, "title": name.partition(".")[0], **bare}


def _services(host: str, title: str, offers: Sequence[Offer]) -> list[dict[str, Any]]:
    return [
        {
            "type": offer.service.type,
            "label": links.label(offer.service.type),
            # A host's own title says nothing new beside it.
            "title": None if offer.title == title else offer.title,
            "port": offer.service.port,
            "url": links.url(host, offer.service),
        }
        for offer in offers
    ]
