# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's presence in the zone: the loop that keeps it mapped at the gateway, and published as it is reached."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils.names import autotunnel_name, autotunnel_target
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Reach
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
from dns.rdatatype import RdataType

from . import clock
from .backoff import Backoff, Pace
from .errors import PortMapError, WatcherError, ZoneServerError
from .portmap.mapper import Mapper
from .publish import Publisher
from .reach import best_rung, by_ways
from .status import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config
    from .faults import Faults
    from .follow import RRsetName
    from .places import Places
    from .portmap.mapping import Mapping
    from .rendezvous import Rendezvous
    from .status import Status
    from .uplink import Uplink
    from .zone_client import ZoneClient

_LOGGER = logging.getLogger(__name__)

MAP_AGAIN_S = 900.0  # a gateway that maps nothing is asked again, while another way is published
FAULT = "presence"


class Presence:
    """Holds what the gateway and the zone granted; `settled` is set once the first attempt ended, well or badly.

    `own_sets` are to be watched; `own_changed` looks whether a change there was ours.

    Args:
        gateway_changed: called when the gateway told by itself that it has another address, or lost its table.
        outer_changed: called when the gateway, asked on the same network, gave another address or port than before.
    """

    def __init__(
        self,
        config: Config,
        client: ZoneClient,
        places: Places,
        status: Status,
        faults: Faults,
        rendezvous: Rendezvous,
        gateway_changed: Callable[[], None],
        outer_changed: Callable[[], None],
    ) -> None:
        self.settled = asyncio.Event()
        zone, host = config.zone, config.host
        # What two hosts with one key and one address would write in turns.
        self.own_sets: frozenset[RRsetName] = frozenset(
            {(autotunnel_name(host.label, zone), RdataType.SRV), (autotunnel_target(host.ula, zone), RdataType.A)}
        )
        self._config = config
        self._status = status
        self._faults = faults
        self._publisher = Publisher(config, client, places.state)
        self._mapper = Mapper(places.shared, gateway_changed)
        self._outer_changed = outer_changed
        self._rendezvous = rendezvous
        self._link: Uplink | None = None
        self._mapping: Mapping | None = None
        self._last_outer: Endpoint | None = None  # on this network
        self._failure: PortMapError | None = None
        self._map_again_at = math.inf
        self._pace = Pace(clock.boottime)
        self._keeping: asyncio.Task[None] | None = None
        self._republishing = background.Repeated(self._async_republish)
        self._comparing = background.Repeated(self._async_compare)
        self._publishing = asyncio.Lock()

    @property
    def outer(self) -> IPv4Address | None:
        """The IPv4 address at which the host is seen from outside; None while nothing maps it."""
        address = self._mapping.outer.address if self._mapping else None
        return address if isinstance(address, IPv4Address) else None

    def start(self, link: Uplink | None) -> None:
        """Map and publish from now on."""
        self._link = link
        self._again()

    def moved(self, link: Uplink | None) -> None:
        """Begin anew on another network, or on one that changed."""
        self._pace.change()
        self._link = link
        self._mapping = self._last_outer = None
        self._again()

    def doubt(self, *, mapping: bool) -> None:
        """Trust the zone to hold nothing of before, nor the gateway, when that is said."""
        if mapping:
            self._mapper.doubt()
        self._publisher.doubt()

    def served(self) -> None:
        """The zone server is back: publish at once what could not be published while it was away."""
        if FAULT in self._faults and self._keeping is not None:
            self._again()

    def relay_changed(self) -> None:
        """The relay grants something, or no longer does: tell the zone, whatever the gateway does meanwhile."""
        if self._differs() is not None:
            self.ask_gateway()
        elif self._keeping is not None:
            self._republishing.again()

    def own_changed(self) -> None:
        """The zone holds something else of this host's ways: by our own update, or by another writer's."""
        if self._keeping is not None:
            self._comparing.again()

    def ask_gateway(self) -> None:
        """Ask the gateway whether it still has the address and the mapping of before: not all announce a change."""
        if self._keeping is not None:
            self._mapper.doubt()
            self._again()

    async def async_halt(self) -> None:
        """Stop, leaving mapping and zone as they are; `moved` goes on."""
        for work in (self._comparing, self._republishing):
            await work.async_stop()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        self._keeping = None

    async def async_withdraw(self) -> None:
        """Stop; take the host out of the zone, then close the mapping (RFC 6281 section 3; `facts` 3.2, tear-down)."""
        await self.async_halt()
        try:
            if await self._publisher.async_withdraw():
                _LOGGER.info("withdrawn from the zone")
        except (ZoneServerError, UpdateError) as err:
            _LOGGER.warning("not withdrawn: %s", err)
        await self._mapper.async_release()

    def forget(self) -> None:
        """Trust the mapping no longer: the host sleeps, or leaves."""
        self._mapping = None
        self._status.set(outer=None, mapping=None, unmapped=None, published=None)

    def close(self) -> None:
        """Listen to the gateway no longer."""
        self._mapper.close()

    def _again(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        self._keeping = background.start(self._async_keep())

    async def _async_keep(self) -> None:
        """Map, publish, wait until mapping or lease have to be renewed; on failure wait and try again."""
        backoff = Backoff()
        await asyncio.sleep(self._pace.hold_s())
        while True:
            try:
                await self._async_map_and_publish()
            except (WatcherError, UpdateError) as err:
                self._faults.tell(FAULT, err)
                self.settled.set()
                await asyncio.sleep(backoff.next(err))
            else:
                backoff.reset()
                self.settled.set()
                await clock.async_sleep_until(self._renew_at())

    def _renew_at(self) -> float:
        """Return when mapping or lease have to be renewed, whichever is first, in seconds of `clock.boottime`."""
        refresh = self._publisher.refresh_in()
        renew_at = self._mapping.renew_at if self._mapping else None
        return min(
            math.inf if refresh is None else clock.boottime() + refresh,
            math.inf if renew_at is None else renew_at,
            self._map_again_at,
        )

    async def _async_map_and_publish(self) -> None:
        link = self._link
        if link is None:
            raise PortMapError(
                f"no route leads to the zone server {self._config.server.addresses[0]}: check the network"
            )
        self._map_again_at = math.inf
        try:
            mapping = self._mapping = await self._mapper.async_obtain(link)
            self._failure = None
            before, self._last_outer = self._last_outer, mapping.outer
            if before not in {None, mapping.outer}:
                self._outer_changed()
        except PortMapError as err:
            self._failure = err
            if not self._still_mapped():
                self._mapping = None
        async with self._publishing:
            await self._async_publish(link)

    async def _async_republish(self) -> None:
        async with self._publishing:
            link = self._link
            try:
                if link is not None:
                    await self._async_publish(link)
            except (WatcherError, UpdateError) as err:
                self._faults.tell(FAULT, err)
                self._again()  # it tries until it went well
            else:
                self.settled.set()

    async def _async_compare(self) -> None:
        async with self._publishing:  # an update on its way is neither known yet nor another's
            await self._publisher.async_compare(self.own_sets)
        self._status.set(overwritten=list(self._publisher.overwritten))

    def _differs(self) -> PortMapError | None:
        """Return what is wrong with the mapping when the relay sees this host elsewhere; None when nothing is."""
        observed = self._rendezvous.observed
        if self._mapping is None or observed is None or not isinstance(observed.address, IPv4Address):
            return None
        return self._mapping.differs_from(observed.address)

    async def _async_publish(self, link: Uplink) -> None:
        """Publish what ways there are; with none to be reached from outside, tell why."""
        mapping, failure = self._mapping, self._failure
        wrong = self._differs()
        if wrong is not None:
            mapping, failure = None, wrong
        reach = by_ways(link, mapping, self._rendezvous)
        self._show(link, reach, mapping, failure)
        if reach == Reach():
            # An address in the zone that leads nowhere costs every peer a time-out.
            with contextlib.suppress(ZoneServerError, UpdateError):
                if await self._publisher.async_withdraw():
                    _LOGGER.info("withdrawn from the zone, since nothing leads here")
        elif await self._publisher.async_publish(reach):
            _LOGGER.info("published in %s", self._config.zone)
            self._status.set(
                published={"time": now(), "outer": self._status.get("outer")},
                overwritten=list(self._publisher.overwritten),
                updates=self._status.get("updates", 0) + 1,
                lease_expires=now(self._publisher.lease_s),
            )
        if failure is not None:
            if not (reach.direct or reach.mediators or reach.relays):
                raise failure
            self._map_again_at = clock.boottime() + MAP_AGAIN_S
        self._faults.tell(FAULT, None)

    def _show(self, link: Uplink, reach: Reach, mapping: Mapping | None, failure: PortMapError | None) -> None:
        """Tell by which ways this host is reached, and why not by a better one."""
        outer = str(reach.direct[0]) if reach.direct else None
        how = None
        if mapping is not None:
            how = {"method": mapping.method, "gateway": None if mapping.method == "none" else str(link.gateway)}
        nat = failure.nat if failure is not None else "nat" if link.behind_nat else "none"
        relay = reach.relays[0].name.to_text(omit_final_dot=True) if reach.relays else None
        if self._status.set(outer=outer, mapping=how, nat=nat, rung=best_rung(reach), relay=relay) and outer:
            _LOGGER.info("reached from outside at %s (mapping: %s)", outer, mapping.method if mapping else "no")
        if self._status.set(unmapped=None if failure is None else str(failure)) and failure is not None:
            _LOGGER.info("no IPv4 mapping: %s", failure)

    def _still_mapped(self) -> bool:
        expires_at = self._mapping.expires_at if self._mapping else None
        return expires_at is not None and expires_at > clock.boottime()
