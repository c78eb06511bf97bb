# SPDX-License-Identifier: GPL-3.0-or-later
"""One configuration at work: the stub and its link, and the loop that keeps the host mapped and published."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError
from ansible_collections.btmm.fleet.plugins.module_utils.records import Reach
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from . import clock, netlink, uplink
from .backoff import Backoff, Pace, is_final
from .demand import Demand
from .errors import LinkError, PortMapError, WatcherError, ZoneServerError
from .follow import Following, PollingFollower
from .last_known import LastKnown
from .link import Link
from .magic import Magic
from .peers import Locator, Vantage
from .portmap.mapper import Mapper
from .publish import Publisher
from .push_follow import PushFollower
from .reach import best_rung, by_ways
from .remembered import Remembered
from .rendezvous import Rendezvous
from .status import now
from .stub import Stub
from .tunnels import Tunnels
from .zone_client import ZoneClient

if TYPE_CHECKING:
    from .config import Config
    from .follow import Follower
    from .places import Places
    from .portmap.mapping import Mapping
    from .status import Status
    from .uplink import Uplink

_LOGGER = logging.getLogger(__name__)

SLEEP_WITHIN_S = 8.0  # `btmm sleep` waits for 10 s, as Apple's daemon held up a suspend at most (`facts` 5.4)


GLANCE_AGAIN_S = 1.0  # a cable that flaps is followed at the end of each burst only
MAP_AGAIN_S = 900.0  # a gateway that maps nothing is asked again, while another way is published


class Instance:
    """Holds the parts together; `settled` is set once the first attempt to publish has ended, well or badly."""

    def __init__(self, config: Config, status: Status, places: Places) -> None:
        self.settled = asyncio.Event()
        self._config = config
        self._status = status
        self._client = ZoneClient(config)
        self._publisher = Publisher(config, self._client, places.state)
        self._mapper = Mapper(places.shared, self._gateway_changed)
        table = LastKnown(config, places.state)
        self._asker = Remembered(config, self._client, table, self._served)
        self._locator = Locator(config, self._asker, self._vantage)
        self._rendezvous = Rendezvous(config, self._asker, self._relay_changed)
        self._tunnels = Tunnels(config, self._locator, self._peers_changed, self._rendezvous)
        self._stub = Stub(Magic(config, self._asker, self._locator, self._tunnels).async_answer)
        self._following = Following(self._locator, self._tunnels.peer_moved)
        self._push: PushFollower | None = None
        self._demand = Demand(config, self._locator, self._tunnels)
        self._link = Link(self._demand.packet)
        self._watch: netlink.Watch | None = None
        self._clock: clock.Watch | None = None
        self._reaching: asyncio.Task[None] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._uplink: Uplink | None = None
        self._mapping: Mapping | None = None
        self._sleeping: asyncio.Task[None] | None = None
        self._pace = Pace(clock.boottime)
        self._changed_at = 0.0
        self._map_again_at = math.inf
        self._failure: PortMapError | None = None
        self._publishing = asyncio.Lock()
        self._republishing: asyncio.Task[None] | None = None
        self._faults: dict[str, Exception] = {}
        servers = [ip_address(text) for text in config.server.addresses]
        self._toward = next((a for a in servers if isinstance(a, IPv4Address)), uplink.FAR4)
        self._toward6 = next((a for a in servers if isinstance(a, IPv6Address)), uplink.FAR6)

    async def async_start(self) -> None:
        """Start everything; what fails is in the status, and does not stop the rest."""
        host = self._config.host
        self._status.set(
            host=self._config.host_name.to_text(omit_final_dot=True),
            zone=self._config.zone.to_text(omit_final_dot=True),
            ula=str(host.ula),
            outer=None,
            mapping=None,
            names=None,
            last_known=None,
            asleep=False,
            peers=[],
            follow=PollingFollower.method,
        )
        try:
            await self._stub.async_start(self._config.stub_address, self._config.stub_port)
            if self._config.resolved:
                await self._link.async_open(self._config)
            via = f"systemd-resolved on {self._config.link_name}" if self._config.resolved else "the stub only"
            self._status.set(names=via)
        except LinkError as err:
            self._tell("names", err)
        self._asker.start()
        await self._following.async_use(self._follower())
        self._tunnels.start()
        self._uplink = uplink.find(self._toward, self._toward6)
        self._watch = netlink.Watch(self._network_changed, self._glance)
        self._clock = clock.Watch(self._leapt)
        self._reaching = asyncio.create_task(self._async_reach())
        self._rendezvous.start()

    def _follower(self) -> Follower:
        """DNS Push where the zone has it; polling otherwise, and whenever no Push server answers."""
        polling = PollingFollower(self._client, self._following.changed)
        try:
            self._push = PushFollower(
                self._config,
                self._client,
                self._following.changed,
                polling,
                lambda method: self._status.set(follow=method),
            )
        except PushError as err:
            _LOGGER.warning("changes are not pushed: %s", err)
            return polling
        return self._push

    async def async_stop(self) -> None:
        """Stop everything, leaving zone, mapping and tunnels as they are."""
        for watch in (self._watch, self._clock):
            if watch is not None:
                watch.close()
        await self._async_halt()
        if self._sleeping is not None:
            self._sleeping.cancel()
        self._mapper.close()
        self._tunnels.stop()
        self._demand.stop()
        await self._following.async_stop()
        await self._rendezvous.async_stop()
        if self._listing is not None:
            self._listing.cancel()
        await self._stub.async_stop()
        self._asker.stop()
        self._link.close()
        self._client.drop()

    async def async_withdraw(self) -> None:
        """Take the host out of the zone, then close the mapping (RFC 6281 section 3; `facts` 3.2, tear-down)."""
        await self._async_halt()
        try:
            if await self._publisher.async_withdraw():
                _LOGGER.info("withdrawn from the zone")
        except (ZoneServerError, UpdateError) as err:
            _LOGGER.warning("not withdrawn: %s", err)
        await self._mapper.async_release()

    def sleep(self) -> None:
        """Leave the zone before the host sleeps, when nobody answers for it (`facts` 5.4); `wake` ends it."""
        if self._sleeping is None:
            _LOGGER.info("going to sleep")
            self._sleeping = asyncio.create_task(self._async_sleep())

    def wake(self) -> None:
        """Come back, as after a change of the network."""
        if self._sleeping is not None:
            _LOGGER.info("awake")
            self._start_over()

    async def _async_sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLEEP_WITHIN_S):
                await self.async_withdraw()
        self._client.drop()
        self._mapping = None
        self._status.set(outer=None, mapping=None, published=None, asleep=True)

    async def _async_halt(self) -> None:
        for task in (self._republishing, self._reaching):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _network_changed(self) -> None:
        link = uplink.find(self._toward, self._toward6)
        if link == self._uplink or self._sleeping is not None:
            return
        _LOGGER.info("network changed: %s", _describe(link))
        self._start_over()

    def _glance(self) -> None:
        """Do not wait for the end of a burst when a new way out is there already; but not for each flap of a cable."""
        loop = asyncio.get_running_loop()
        link = uplink.find(self._toward, self._toward6)
        if link is not None and link != self._uplink and loop.time() - self._changed_at > GLANCE_AGAIN_S:
            self._network_changed()

    def _gateway_changed(self) -> None:
        _LOGGER.info("the gateway announced a change")
        self._start_over()

    def _leapt(self, leap: clock.Leap) -> None:
        if abs(leap.set_s) >= clock.LEAP_S:
            _LOGGER.info(
                "the time of day was set %s by %.0f s", "forward" if leap.set_s > 0 else "back", abs(leap.set_s)
            )
            self._publisher.doubt()  # the trace of the lease bears the time of before
        if leap.slept_s >= clock.LEAP_S:
            _LOGGER.info("slept for %.0f s", leap.slept_s)
            self._mapper.doubt()
            self._publisher.doubt()
        if self._sleeping is None or leap.slept_s >= clock.LEAP_S:
            self._start_over()

    def _start_over(self) -> None:
        """Look at the network again, map, publish; connections of before are not trusted."""
        self._changed_at = asyncio.get_running_loop().time()
        self._pace.change()
        if self._sleeping is not None:
            self._sleeping.cancel()
            self._sleeping = None
            self._status.set(asleep=False)
        self._uplink = uplink.find(self._toward, self._toward6)
        self._mapping = None
        self._client.drop()
        if self._push is not None:
            self._push.reconnect()
        self._rendezvous.moved()
        # First of all, and not waiting for the rest: what is in use now, and can be called from here.
        self._tunnels.moved()
        self._reach_again()

    def _served(self, away_since: str | None) -> None:
        """Nobody serves the zone since then, or somebody does again: what could not be published then, is at once."""
        self._status.set(last_known=away_since)
        if away_since is None and "reach" in self._faults and self._sleeping is None:
            self._reach_again()

    def _reach_again(self) -> None:
        if self._reaching is not None:
            self._reaching.cancel()
        self._reaching = asyncio.create_task(self._async_reach())

    async def _async_reach(self) -> None:
        """Map, publish, wait until mapping or lease have to be renewed; on failure wait and try again."""
        backoff = Backoff()
        await asyncio.sleep(self._pace.hold_s())
        while True:
            try:
                await self._async_map_and_publish()
            except (WatcherError, UpdateError) as err:
                self._tell("reach", err)
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
        link = self._uplink
        if link is None:
            raise PortMapError(f"no route leads to the zone server {self._toward}: check the network")
        self._map_again_at = math.inf
        try:
            self._mapping = await self._mapper.async_obtain(link)
            self._failure = None
        except PortMapError as err:
            self._failure = err
            if not self._still_mapped():
                self._mapping = None
        async with self._publishing:
            await self._async_publish(link)

    def _relay_changed(self) -> None:
        """The relay grants something, or no longer does: tell the zone, whatever the gateway does meanwhile."""
        if self._sleeping is None and (self._republishing is None or self._republishing.done()):
            self._republishing = asyncio.create_task(self._async_republish())

    async def _async_republish(self) -> None:
        async with self._publishing:
            link = self._uplink
            try:
                if link is not None:
                    await self._async_publish(link)
            except (WatcherError, UpdateError) as err:
                self._tell("reach", err)
                self._reach_again()  # it tries until it went well
            else:
                self.settled.set()

    async def _async_publish(self, link: Uplink) -> None:
        """Publish what ways there are; with none to be reached from outside, tell why."""
        mapping, failure = self._mapping, self._failure
        observed = self._rendezvous.observed
        if mapping is not None and observed is not None and isinstance(observed.address, IPv4Address):
            wrong = mapping.differs_from(observed.address)
            if wrong is not None:
                mapping, failure = None, wrong
        reach = by_ways(link, mapping, self._rendezvous)
        outer = str(reach.direct[0]) if reach.direct else None
        how = None
        if mapping is not None:
            how = {"method": mapping.method, "gateway": None if mapping.method == "none" else str(link.gateway)}
        nat = failure.nat if failure is not None else "nat" if link.behind_nat else "none"
        relay = reach.relays[0].name.to_text(omit_final_dot=True) if reach.relays else None
        if self._status.set(outer=outer, mapping=how, nat=nat, rung=best_rung(reach), relay=relay) and outer:
            _LOGGER.info("reached from outside at %s (mapping: %s)", outer, mapping.method if mapping else "no")
        if reach == Reach():
            # An address in the zone that leads nowhere costs every peer a time-out.
            with contextlib.suppress(ZoneServerError, UpdateError):
                if await self._publisher.async_withdraw():
                    _LOGGER.info("withdrawn from the zone, since nothing leads here")
        elif await self._publisher.async_publish(reach):
            _LOGGER.info("published in %s", self._config.zone)
            self._status.set(
                published={"time": now(), "outer": outer},
                overwritten=list(self._publisher.overwritten),
                updates=self._status.get("updates", 0) + 1,
                lease_expires=now(self._publisher.lease_s),
            )
        if failure is not None:
            if not (reach.direct or reach.mediators or reach.relays):
                raise failure
            _LOGGER.info("no IPv4 mapping: %s", failure)
            self._map_again_at = clock.boottime() + MAP_AGAIN_S
        self._tell("reach", None)

    def _vantage(self) -> Vantage:
        outer = self._mapping.outer.address if self._mapping else None
        return Vantage(self._uplink, outer if isinstance(outer, IPv4Address) else None)

    def _still_mapped(self) -> bool:
        expires_at = self._mapping.expires_at if self._mapping else None
        return expires_at is not None and expires_at > clock.boottime()

    def _tell(self, part: str, err: Exception | None) -> None:
        """Note that a part works or why it does not; the status shows the first fault, the log every new one."""
        if err is None:
            self._faults.pop(part, None)
        else:
            if str(err) != str(self._faults.get(part)):
                _LOGGER.error("%s", err)
            self._faults[part] = err
        first = next(iter(self._faults.values()), None)
        sentence = None if first is None else f"{self._config.host.label}: {first}"
        self._status.set(error=sentence, final=first is not None and is_final(first))

    def _peers_changed(self) -> None:
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._async_list())

    async def _async_list(self) -> None:
        tunnels = await self._tunnels.async_list()
        labels = (self._locator.label_of(tunnel.identity) for tunnel in tunnels)
        self._following.tunnels(frozenset(label for label in labels if label))
        self._status.set(
            peers=[
                {
                    "name": t.identity,
                    "address": t.address,
                    "outer": str(t.remote),
                    "connection": t.connection,
                    "rung": self._tunnels.rung(t),
                }
                for t in tunnels
            ]
        )


def _describe(link: Uplink | None) -> str:
    if link is None:
        return "no way out"
    return f"{link.address} by gateway {link.gateway}" if link.gateway else f"{link.address} without a gateway"
