# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens IPsec tunnels to peers on demand, and keeps those that are in use alive when this host or a peer moves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from . import charon, probe
from .backoff import Occasions
from .caller import NEXT_WAY_S, Caller
from .charon_events import Events
from .errors import TunnelError, WatcherError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from .charon import Tunnel
    from .config import Config
    from .peers import Locator, Peer, Rendezvous

_LOGGER = logging.getLogger(__name__)

# Seconds.
SETUP_S = 4.0  # for the last way to a peer: an application waits for its address meanwhile
FRESH_S = 2.0  # a peer that was heard since then is alive
WANTED_S = 60.0  # for so long a tunnel that was in use is tried again
_AGAIN_S = (0.3, 10.0)  # first and longest wait between attempts to get a tunnel back
_SETTLE_S = 0.6  # for both ends to drop what they have replaced, before duplicates are judged
_AT_ONCE_S = 2.0  # tunnels made within this time were made by both ends at once
_LOOK_S = (1.0, 10.0)  # how often a tunnel is looked at, with and without traffic
_RELAYED = "relayed"


class Tunnels:
    """Set-ups run in threads (vici is synchronous); callers that want the same peer share one."""

    def __init__(
        self, config: Config, locator: Locator, changed: Callable[[], None], rendezvous: Rendezvous | None = None
    ) -> None:
        self._config = config
        self._locator = locator
        self._changed = changed
        self._rendezvous = rendezvous
        self._caller = Caller(config, rendezvous, changed)
        self._better = Occasions(time.monotonic)
        self._running: dict[str, asyncio.Task[str]] = {}
        self._moves: set[asyncio.Task[None]] = set()
        self._event = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._events = Events(self._tell)
        self._news: dict[str, asyncio.Event] = {}  # of peers whose tunnel is to come back

    async def async_ensure(self, peer: Peer) -> str:
        """Return when the tunnel to `peer` carries traffic, with one word on how: "found" or "opened".

        Raises:
            TunnelError: charon is away, or the peer does not answer or is refused.
        """
        return await self._async_shared(peer.label, lambda: self._async_ensure(peer))

    async def async_list(self) -> list[Tunnel]:
        """Return the established tunnels; none when charon is away."""
        try:
            return await asyncio.to_thread(self._list)
        except TunnelError:
            return []

    def rung(self, tunnel: Tunnel) -> str:
        """Return by which way a tunnel goes."""
        known = self._caller.rung(tunnel.number)
        if (
            not known
            and self._rendezvous is not None
            and not self._locator.is_published(tunnel.identity, tunnel.remote)
        ):
            known = self._rendezvous.rung_of(tunnel.remote)
        return known or self._locator.rung_of(tunnel.remote.address)

    def start(self) -> None:
        """Call `changed` on the loop now, and whenever charon says that a tunnel came or went; look after tunnels."""
        self._events.start()
        self._watching = background.start(self._async_watch())

    def stop(self) -> None:
        """Stop looking after the tunnels. They stay: they carry other programs' connections."""
        self._events.stop()
        for task in (self._watching, *self._moves, *self._running.values()):
            if task is not None:
                task.cancel()

    def moved(self) -> None:
        """This host is reached elsewhere now: call every peer that has a tunnel, whoever opened it."""
        self._spawn(self._async_moved())

    def peer_moved(self, label: str) -> None:
        """The zone says that a peer is elsewhere now; what still carries traffic is left alone."""
        if label in self._news:
            self._news[label].set()
        self._spawn(self._async_peer_moved(label))

    # -- one peer

    async def _async_shared(self, label: str, make: Callable[[], Coroutine[None, None, str]]) -> str:
        task = self._running.get(label)
        if task is None:
            task = asyncio.create_task(make())
            self._running[label] = task
            task.add_done_callback(lambda _: self._ended(label))
        return await asyncio.shield(task)

    def _ended(self, label: str) -> None:
        self._running.pop(label, None)
        self._news.pop(label, None)

    async def _async_ensure(self, peer: Peer) -> str:
        held = charon.to_peer(await asyncio.to_thread(self._list), peer)
        # One that the peer has just made it may not have at its own end yet: what we sent at once would be lost.
        if any(tunnel.in_s <= FRESH_S or (tunnel.ours and tunnel.age_s <= FRESH_S) for tunnel in held):
            return "found"
        if held and await probe.async_alive(self._config.host.ula, peer.ula):
            return "found"
        if held and not peer.ways:
            # It called us, and nothing says where it could be called. Charon will see whether it lives.
            return "found"
        await self._caller.async_open(peer, SETUP_S, held)
        return "opened"

    def _list(self) -> list[Tunnel]:
        with charon.session() as session:
            return charon.established(session, self._config.prefix)

    def _abandon(self) -> list[Tunnel]:
        """End the calls that nobody has answered yet; return the tunnels that there are."""
        with charon.session() as session:
            for number in charon.attempts(session, f".{self._config.zone.to_text(omit_final_dot=True)}"):
                charon.forget(session, number)
            return charon.established(session, self._config.prefix)

    # -- moves

    async def _async_moved(self) -> None:
        running = dict(self._running)
        self._caller.forget_ways()
        self._better.renew_all()
        with contextlib.suppress(TunnelError):
            # What is under way comes from the old address: it would only be in the way.
            for tunnel in _latest(await asyncio.to_thread(self._abandon)):
                label = self._locator.label_of(tunnel.identity)
                self._spawn(self._async_get_back_after(running.get(label or ""), tunnel))

    async def _async_get_back_after(self, attempt: asyncio.Task[str] | None, tunnel: Tunnel) -> None:
        """Wait for nobody but an attempt at the same peer: one that is off may take many seconds."""
        if attempt is not None:
            await asyncio.wait([attempt])
        self._get_back(tunnel)

    async def _async_peer_moved(self, label: str) -> None:
        self._better.renew(label)
        for tunnel in _latest(await self.async_list()):
            if self._locator.label_of(tunnel.identity) != label:
                continue
            if not await self._async_alive(tunnel):
                self._get_back(tunnel)
            else:
                self._improve(label, tunnel)

    def _improve(self, label: str, tunnel: Tunnel) -> None:
        """While a tunnel is relayed and the peer publishes a better way, try that now and then."""
        peer = self._locator.peer(label, IPv6Address(tunnel.address))
        if self.rung(tunnel) != _RELAYED or not peer.ways or peer.ways[0].rung == _RELAYED:
            return
        if self._better.is_due(label):
            # Not shared with who wants the tunnel: he has one, whatever comes of this.
            self._spawn(self._async_ignoring(self._async_improve(peer)))

    async def _async_improve(self, peer: Peer) -> None:
        await self._caller.async_open_beside(peer, peer.ways[0])
        _LOGGER.info("tunnel to %s is not relayed any more", peer.identity)

    async def _async_alive(self, tunnel: Tunnel) -> bool:
        return await probe.async_alive(self._config.host.ula, IPv6Address(tunnel.address))

    def _get_back(self, tunnel: Tunnel) -> None:
        label = self._locator.label_of(tunnel.identity)
        if label is not None and label not in self._running:
            self._spawn(self._async_ignoring(self._async_shared(label, lambda: self._async_get_back(label, tunnel))))

    async def _async_get_back(self, label: str, tunnel: Tunnel) -> str:
        """Call a peer until it answers, for a minute; after each failure ask the zone where it is."""
        ula = IPv6Address(tunnel.address)
        wait, longest = _AGAIN_S
        news = self._news[label] = asyncio.Event()
        started = asyncio.get_running_loop().time()
        peer = self._locator.peer(label, ula)
        dead = charon.to_peer(await self.async_list(), peer) or [tunnel]
        while True:
            if peer.ways:
                try:
                    await self._caller.async_open(peer, NEXT_WAY_S, dead)
                except TunnelError as err:
                    _LOGGER.info("the tunnel is not back yet: %s", err)
                else:
                    took = asyncio.get_running_loop().time() - started
                    _LOGGER.info("tunnel to %s is back after %.0f ms", peer.identity, took * 1000)
                    return "opened"
            with contextlib.suppress(WatcherError, UpdateError):
                await self._locator.async_locate(label)
            ways, peer = peer.ways, self._locator.peer(label, ula)
            if peer.ways != ways:
                continue  # it moved, too
            # Charon may have got it back by itself (MOBIKE), and the peer may have called us meanwhile.
            held = charon.to_peer(await self.async_list(), peer)
            if held and await self._async_alive(tunnel):
                return "found"
            dead += held
            if asyncio.get_running_loop().time() - started > WANTED_S:
                raise TunnelError(f"{peer.identity} does not answer: the next packet for it is another attempt")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await news.wait()
            news.clear()
            peer = self._locator.peer(label, ula)
            wait = min(wait * 2, longest)

    async def _async_ignoring(self, attempt: Coroutine[None, None, object]) -> None:
        try:
            await attempt
        except TunnelError as err:
            _LOGGER.info("%s", err)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    # -- all tunnels

    def _tell(self) -> None:
        self._event.set()
        self._changed()

    async def _async_watch(self) -> None:
        """Look at the tunnels after each event; and while there are any, now and then: does traffic get an answer?"""
        while True:
            known = self._caller.known()  # one that is made while charon is asked may not be in its answer
            tunnels = await self.async_list()
            self._caller.forget_rungs(known - {tunnel.number for tunnel in tunnels})
            busy = False
            for tunnel in _latest(tunnels):
                same = [t for t in tunnels if t.identity == tunnel.identity]
                await self._async_judge(tunnel, same)
                busy = busy or len(same) > 1 or min(t.out_s for t in same) <= _LOOK_S[1]
            try:
                async with asyncio.timeout(_LOOK_S[0 if busy else 1] if tunnels else None):
                    await self._event.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_SETTLE_S)
            self._event.clear()

    async def _async_judge(self, latest: Tunnel, same: list[Tunnel]) -> None:
        label = self._locator.label_of(latest.identity)
        if label is None or label in self._running:
            return
        if len(same) > 1 and latest.age_s >= _SETTLE_S:
            keep = self._chosen(same)
            await asyncio.to_thread(_forget, [tunnel.number for tunnel in same if tunnel.number != keep.number])
        silent_s = min(min(tunnel.in_s, tunnel.age_s) for tunnel in same)
        sent_s = min(tunnel.out_s for tunnel in same)
        if sent_s <= FRESH_S < silent_s and not await self._async_alive(latest):
            self._get_back(latest)
        else:
            self._improve(label, latest)

    def _chosen(self, same: list[Tunnel]) -> Tunnel:
        """Return the tunnel of several to one peer that stays; the other end comes to the same choice.

        The newest, since each end makes a new one only when it needs it; but when both called at once, the one called
        by the host with the smaller ULA.
        """
        youngest = min(tunnel.age_s for tunnel in same)
        recent = [tunnel for tunnel in same if tunnel.age_s - youngest <= _AT_ONCE_S]
        smaller = self._config.host.ula < IPv6Address(recent[0].address)
        return max(recent, key=lambda tunnel: (tunnel.ours == smaller, tunnel.number))


def _forget(numbers: Iterable[int]) -> None:
    with contextlib.suppress(TunnelError), charon.session() as session:
        for number in numbers:
            charon.forget(session, number)


def _latest(tunnels: Iterable[Tunnel]) -> list[Tunnel]:
    """Return the newest tunnel to each peer."""
    return list({t.identity: t for t in sorted(tunnels, key=lambda t: t.number)}.values())
