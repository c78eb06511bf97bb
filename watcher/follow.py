# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows where the peers of live tunnels are published, so that a peer that moved is called where it is now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

import dns.message
from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils.records import TTL_HOST
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from .errors import WatcherError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from dns.name import Name
    from dns.rdatatype import RdataType

    from .peers import Asker, Locator

    RRsetName = tuple[Name, RdataType]

_LOGGER = logging.getLogger(__name__)


class Follower(Protocol):
    """Watches RRsets of the zone; who makes one gives it a function to call with the name and type that changed."""

    @property
    def method(self) -> str:
        """How it learns of changes: push, llq or polling."""

    async def async_follow(self, sets: AbstractSet[RRsetName]) -> None:
        """Watch exactly these RRsets from now on."""

    async def async_stop(self) -> None:
        """Watch nothing more."""


class PollingFollower:
    """Asks once in the life of a record; in between, what a peer's traffic tells has to do."""

    method = "polling"

    def __init__(
        self, asker: Asker, changed: Callable[[Name, RdataType], None], every_s: float = float(TTL_HOST)
    ) -> None:
        self._asker = asker
        self._changed = changed
        self._every_s = every_s
        self._sets: AbstractSet[RRsetName] = frozenset()
        self._held: dict[RRsetName, frozenset[str]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._new = asyncio.Event()

    async def async_follow(self, sets: AbstractSet[RRsetName]) -> None:
        """Watch exactly these RRsets from now on."""
        self._sets = sets
        self._held = {each: held for each, held in self._held.items() if each in sets}
        if sets and self._polling is None:
            self._polling = background.start(self._async_poll())
        elif not sets:
            await self.async_stop()
        elif sets - self._held.keys():
            self._new.set()  # what is not known yet can't be seen to change

    async def async_stop(self) -> None:
        """Watch nothing more."""
        # Given up before it has ended: who is to watch something again meanwhile begins anew.
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await polling

    async def _async_poll(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._async_look(self._sets)
            again_at = loop.time() + self._every_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(again_at):
                    while True:
                        await self._new.wait()
                        self._new.clear()
                        await self._async_look(self._sets - self._held.keys())

    async def _async_look(self, sets: AbstractSet[RRsetName]) -> None:
        asked = list(sets)
        found = await asyncio.gather(*(self._async_ask(each) for each in asked))
        for each, now in zip(asked, found, strict=True):
            if now is None or each not in self._sets:
                continue
            before = self._held.get(each)
            self._held[each] = now
            if before is not None and before != now:
                self._changed(*each)

    async def _async_ask(self, each: RRsetName) -> frozenset[str] | None:
        """Return the RRset's data; None when nobody can be asked, which is no change."""
        try:
            answer = await self._asker.async_exchange(dns.message.make_query(*each))
        except (WatcherError, UpdateError):
            return None
        return frozenset(rdata.to_text() for rrset in answer.answer if rrset.rdtype == each[1] for rdata in rrset)


class Following:
    """Has a follower watch the peers that there are tunnels to, and tells of those that are elsewhere now.

    Args:
        locator: finds where peers are.
        moved: called with the label of one that is elsewhere now.
        others: RRsets that are watched always, each with what is called when it is another one now.
    """

    def __init__(
        self,
        locator: Locator,
        moved: Callable[[str], None],
        others: Mapping[RRsetName, Callable[[], None]] | None = None,
    ) -> None:
        self._locator = locator
        self._moved = moved
        self._others = dict(others or {})
        self._follower: Follower | None = None
        self._labels: frozenset[str] = frozenset()
        self._beside: AbstractSet[RRsetName] = frozenset()
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def async_use(self, follower: Follower) -> None:
        """Follow by `follower` from now on, as when the zone was found to have a better way than polling."""
        before, self._follower = self._follower, follower
        if before is not None:
            await before.async_stop()
        await self._async_follow()

    async def async_stop(self) -> None:
        """Follow nobody."""
        for task in self._tasks:
            task.cancel()
        if self._follower is not None:
            await self._follower.async_stop()

    def tunnels(self, labels: frozenset[str]) -> None:
        """There are tunnels to exactly these peers."""
        if labels != self._labels:
            self._labels = labels
            self._spawn()

    def beside(self, sets: AbstractSet[RRsetName]) -> None:
        """Have these RRsets watched, too, which are somebody else's concern."""
        if sets != self._beside:
            self._beside = sets
            self._spawn()

    def changed(self, name: Name, rdtype: RdataType) -> None:
        """An RRset is another one now."""
        if (name, rdtype) in self._others:
            self._others[(name, rdtype)]()
        for label in self._labels:
            located = self._locator.known(label)
            if located is not None and (name, rdtype) in located.sets:
                self._spawn(label)

    def _spawn(self, label: str | None = None) -> None:
        task = asyncio.create_task(self._async_look_again(label) if label else self._async_follow())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _async_look_again(self, label: str) -> None:
        before = self._locator.known(label)
        with contextlib.suppress(WatcherError, UpdateError):
            now = await self._locator.async_locate(label)
            if before is None or now.reach != before.reach:
                _LOGGER.info("%s is elsewhere now", label)
                self._moved(label)
            await self._async_follow()

    async def _async_follow(self) -> None:
        async with self._one_at_a_time:  # else one that had to ask would end with the sets of before
            sets = {*self._others, *self._beside}
            for label in self._labels:
                sets |= await self._async_sets(label)
            if self._follower is not None:
                await self._follower.async_follow(frozenset(sets))

    async def _async_sets(self, label: str) -> AbstractSet[RRsetName]:
        located = self._locator.known(label)
        if located is None:
            # It called us: nobody has asked for it yet, and when this host moves there may be no time to ask.
            try:
                located = await self._locator.async_locate(label)
            except (WatcherError, UpdateError):
                return frozenset()
        return located.sets
