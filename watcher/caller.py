# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls a peer by the ways that it publishes, one after the other, and remembers which one led there."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from . import charon, probe
from .errors import TunnelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import vici

    from .charon import Tunnel
    from .config import Config
    from .peers import Peer, Rendezvous, Way

NEXT_WAY_S = 1.2  # for each way before the last, and for each after a move, when a peer may be elsewhere by now, too
CALLS = 20  # at once: each holds up to two of charon's 64 threads (role tunnel), and without one it does nothing more


class Caller:
    """Makes tunnels; vici is synchronous, so each call runs in a thread, one that nobody else waits for."""

    def __init__(self, config: Config, rendezvous: Rendezvous | None, changed: Callable[[], None]) -> None:
        """Prepare; `changed` is called when more is known of a tunnel than charon told when it came."""
        self._config = config
        self._rendezvous = rendezvous
        self._changed = changed
        self._threads = ThreadPoolExecutor(CALLS, "call")
        self._worked: dict[str, tuple[tuple[Way, ...], str]] = {}  # by which of its ways a peer was reached last
        self._rungs: dict[int, str] = {}  # the rung of each tunnel of ours

    def rung(self, number: int) -> str | None:
        """Return by which way the tunnel of this number was made; None when the peer made it."""
        return self._rungs.get(number)

    def known(self) -> frozenset[int]:
        """Return the numbers of the tunnels whose rung is known."""
        return frozenset(self._rungs)

    def forget_rungs(self, numbers: Iterable[int]) -> None:
        """These tunnels have ended."""
        for number in numbers:
            self._rungs.pop(number, None)

    def forget_ways(self) -> None:
        """On another network, what worked before says nothing."""
        self._worked.clear()

    async def async_open(self, peer: Peer, last_s: float, dead: Iterable[Tunnel]) -> None:
        """Call the peer by one way after the other, by the last one for `last_s`; the `dead` tunnels to it are dropped.

        Raises:
            TunnelError: it publishes no way, or answers by none; that of the first way.
        """
        if not peer.ways:
            raise TunnelError(f"{peer.identity} publishes no way that leads there from here: see 'btmm status' on it")
        # What worked last goes first: a way that leads nowhere costs more than a second each time. With other ways than
        # then, the best is tried anew.
        ways, worked = self._worked.get(peer.label, ((), ""))
        order = sorted(peer.ways, key=lambda way: ways == peer.ways and way.rung != worked)
        failure: Exception | None = None
        numbers = frozenset(tunnel.number for tunnel in dead)
        loop = asyncio.get_running_loop()
        for way in order:
            try:
                at = await self._async_endpoint(peer, way)
                within_s = last_s if way is order[-1] else min(last_s, NEXT_WAY_S)
                number = await loop.run_in_executor(self._threads, self._call, peer, at, within_s, numbers)
            except TunnelError as err:
                failure = failure or err
            else:
                if not number:
                    await probe.async_alive(self._config.host.ula, peer.ula)
                    return
                self._made(peer, way, number)
                return
        assert failure is not None  # noqa: S101 - for the type checker
        raise failure

    async def async_open_beside(self, peer: Peer, way: Way) -> None:
        """Call the peer by one way, and leave the tunnels to it alone: what they carry would be lost if it fails.

        Both ends drop the older ones when this one is made (`Tunnels`), and tell each other by the older way.

        Raises:
            TunnelError: nobody answers there.
        """
        at = await self._async_endpoint(peer, way)
        number = await asyncio.get_running_loop().run_in_executor(self._threads, self._call_beside, peer, at)
        self._made(peer, way, number)

    def _made(self, peer: Peer, way: Way, number: int) -> None:
        self._worked[peer.label] = peer.ways, way.rung
        self._rungs[number] = way.rung
        self._changed()

    async def _async_endpoint(self, peer: Peer, way: Way) -> Endpoint:
        if isinstance(way.at, Endpoint):
            return way.at
        if self._rendezvous is None:
            raise TunnelError(f"{peer.identity} is reached by a relay only, and none is known here")
        return await self._rendezvous.async_prepare(peer.identity, way)

    def _call(self, peer: Peer, at: Endpoint, within_s: float, dead: frozenset[int]) -> int:
        """Drop what is dead, and make a tunnel, unless the peer has just made one (0); return its number.

        In this order, since only who has no other tunnel sends INITIAL_CONTACT (RFC 7296 section 2.4). By it the peer
        drops its own end of the old ones at once; else it would go on sending there, seen when MOBIKE had just rekeyed
        an old one, whose keys are the newest then. Packets that come in between wait (`demand`).
        """
        with charon.session(within_s + 1) as session:
            before = {
                tunnel.number for tunnel in charon.to_peer(charon.established(session, self._config.prefix), peer)
            }
            if before - dead:
                return 0
            for number in before:
                charon.forget(session, number)
            charon.call(session, self._config, peer, at, within_s, again=bool(dead))
            return self._newest(session, peer)

    def _call_beside(self, peer: Peer, at: Endpoint) -> int:
        with charon.session(NEXT_WAY_S + 1) as session:
            charon.call(session, self._config, peer, at, NEXT_WAY_S, again=False)
            return self._newest(session, peer)

    def _newest(self, session: vici.Session, peer: Peer) -> int:
        after = charon.to_peer(charon.established(session, self._config.prefix), peer)
        return max((tunnel.number for tunnel in after if tunnel.ours), default=0)
