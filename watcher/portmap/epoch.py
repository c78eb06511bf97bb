# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a gateway's clock says that it forgot its mappings since it was heard last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mapping import Method


class Epochs:
    """The last epoch of one gateway for each protocol; PCP's and NAT-PMP's need not be the same."""

    def __init__(self) -> None:
        self._last: dict[Method, tuple[int, float]] = {}

    def lost(self, method: Method, epoch_s: int | None, now: float) -> bool:
        """Note an epoch that came at `now` (any clock that counts sleep); tell whether state was lost since the last.

        The first epoch of a gateway says nothing.
        """
        if epoch_s is None:
            return False
        before = self._last.get(method)
        self._last[method] = (epoch_s, now)
        if before is None:
            return False
        server, client = epoch_s - before[0], now - before[1]
        if method == "nat-pmp":
            # RFC 6886 section 3.6: the gateway's clock may be slow by 1/8, and off by 2 s.
            return server < client * 7 / 8 - 2
        # RFC 6887 section 8.5: it may go back by 1 s, and differ in speed by 1/16 and 2 s either way.
        return server < -1 or client + 2 < server - server / 16 or server + 2 < client - client / 16
