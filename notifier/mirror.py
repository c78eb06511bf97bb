# SPDX-License-Identifier: GPL-3.0-or-later
"""The zones in memory, for the servers that tell of them: look up, and be told of every change.

The seam between the mirror and the servers (DNS Push, LLQ). All of it runs in one event loop, so what a server reads in
one go, without awaiting anything, belongs together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import dns.rdataclass
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils.names import folded

from .content import Change, RRset
from .secondary import Secondary, State
from .upstream import Primary, Upstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dns.name import Name
    from dns.rdataclass import RdataClass
    from dns.rdatatype import RdataType

    from .notified import Notice

__all__ = ["Change", "Mirror", "RRset", "State"]

_LOGGER = logging.getLogger(__name__)

Callback = Callable[[Sequence[Change]], None]


class Mirror:
    """All zones of this process."""

    def __init__(self, on_state: Callable[[], None] = lambda: None) -> None:
        """Begin without zones; `on_state` is called when `states` says something new."""
        self._on_state = on_state
        self._zones: dict[tuple[bytes, ...], Secondary] = {}
        self._tasks: dict[tuple[bytes, ...], asyncio.Task[None]] = {}
        self._callbacks: list[Callback] = []

    def keep(self, zones: Mapping[Name, Primary]) -> None:
        """Keep these zones and no others: `zone_of` tells them at once, though they may be empty for a moment.

        What a zone held stays when only its primary is another one. Nobody is told of the end of a zone's records: who
        asks `zone_of` from now on gets None.
        """
        wanted = {folded(zone): (zone, primary) for zone, primary in zones.items()}
        for key in self._zones.keys() - wanted.keys():
            del self._zones[key]
            self._tasks.pop(key).cancel()
        for key, (zone, primary) in wanted.items():
            if key in self._zones:
                self._zones[key].move(primary)
            else:
                secondary = self._zones[key] = Secondary(zone, Upstream(primary), self._told, self._on_state)
                self._tasks[key] = background.start(secondary.async_run())

    def zone_of(self, name: Name) -> Name | None:
        """Return the zone that a name is in, the closest one; None when it is in none of ours."""
        key = folded(name)
        for start in range(len(key)):
            if key[start:] in self._zones:
                return self._zones[key[start:]].zone
        return None

    def lookup(self, name: Name, rdtype: RdataType, rdclass: RdataClass = dns.rdataclass.IN) -> tuple[RRset, ...]:
        """Return what is there now at a name: of one type, or of all for type ANY; class ANY means IN.

        Without DNSSEC's own records (RRSIG, NSEC...), and without following a CNAME: that is an RRset like others.
        """
        zone = self.zone_of(name)
        if zone is None or rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
            return ()
        content = self._zones[folded(zone)].content
        return () if content is None else content.lookup(name, rdtype)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Have `callback` told of all changes; returns what ends that.

        It is called once for each serial step, in the order of serials, after `lookup` knows the step, with what the
        step changed net; an RRset comes at most once. A whole zone that had to be fetched again is one such step. It
        must not block and must not await; the first content of a zone is told, too, as additions.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def state(self, zone: Name) -> State | None:
        """Return how a zone stands (serial, stale, expired, since, error); None when it is none of ours."""
        secondary = self._zones.get(folded(zone))
        return None if secondary is None else secondary.state

    @property
    def zones(self) -> tuple[Name, ...]:
        """The zones, in the order in which they were added."""
        return tuple(secondary.zone for secondary in self._zones.values())

    def notice(self, notice: Notice) -> bool:
        """Take a NOTIFY; return whether the zone is one of ours."""
        secondary = self._zones.get(folded(notice.zone))
        if secondary is None:
            return False
        secondary.notice(notice.serial, signed=notice.signed)
        return True

    def check(self, zone: Name) -> None:
        """Ask the primary soon whether it has something new, as an unsigned NOTIFY would have us do."""
        secondary = self._zones.get(folded(zone))
        if secondary is not None:
            secondary.notice(None, signed=False)

    async def async_stop(self) -> None:
        """Forget all zones and close the connections."""
        tasks = tuple(self._tasks.values())
        self.keep({})
        await asyncio.gather(*tasks, return_exceptions=True)

    def _told(self, changes: tuple[Change, ...]) -> None:
        if not changes:
            return
        for callback in tuple(self._callbacks):
            try:
                callback(changes)
            except Exception:
                # One server's fault must not keep the others, or the zone itself, from going on.
                _LOGGER.exception("a subscriber to the mirror failed")
