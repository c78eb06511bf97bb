# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the status, and who follows peers, which tunnels there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .charon import Tunnel
    from .peers import Locator
    from .status import Status
    from .tunnels import Tunnels


class Listing:
    """Asks charon after each change, one question at a time.

    Args:
        tunnels: are asked for.
        locator: knows the labels of peers.
        status: is told.
        told: are called with the labels of the peers that there are tunnels to.
    """

    def __init__(
        self, tunnels: Tunnels, locator: Locator, status: Status, told: Iterable[Callable[[frozenset[str]], None]]
    ) -> None:
        self._tunnels = tunnels
        self._locator = locator
        self._status = status
        self._told = tuple(told)
        self._listing = background.Repeated(self._async_list)

    def look(self) -> None:
        """A tunnel came or went."""
        self._listing.again()

    def stop(self) -> None:
        """Look no more."""
        self._listing.stop()

    async def _async_list(self) -> None:
        self._tell(await self._tunnels.async_list())

    def _tell(self, tunnels: list[Tunnel]) -> None:
        labels = (self._locator.label_of(tunnel.identity) for tunnel in tunnels)
        peers = frozenset(label for label in labels if label)
        for told in self._told:
            told(peers)
        self._status.set(
            peers=[
                {
                    "name": t.identity,
                    "address": t.address,
                    "outer": str(t.remote),
                    "connection": t.connection,
                    "rung": self._tunnels.rung(t),
                    "key_exchange": t.key_exchange,
                    "post_quantum": t.post_quantum,
                }
                for t in tunnels
            ]
        )
