# SPDX-License-Identifier: GPL-3.0-or-later
"""One configuration at work: the stub and its link, and the loop that keeps the host mapped and published."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError

from . import clock, netlink, uplink
from .demand import Demand
from .errors import LinkError
from .faults import Faults
from .follow import Following, PollingFollower
from .last_known import LastKnown
from .link import Link
from .list_follow import ListFollow
from .listing import Listing
from .magic import Magic
from .peers import Locator, Vantage
from .places import LIST_FILE, REVOKED_ROOT
from .presence import Presence
from .push_follow import PushFollower
from .realm_files import RealmFiles
from .realms import Realms
from .remembered import Remembered
from .rendezvous import Rendezvous
from .stub import Stub
from .tunnels import Tunnels
from .zone_client import ZoneClient

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdatatype import RdataType

    from .config import Config
    from .follow import Follower
    from .places import Places
    from .status import Status
    from .uplink import Uplink

_LOGGER = logging.getLogger(__name__)

SLEEP_WITHIN_S = 8.0  # `btmm sleep` waits for 10 s, as Apple's daemon held up a suspend at most (`facts` 5.4)

GLANCE_AGAIN_S = 1.0  # a cable that flaps is followed at the end of each burst only


class Instance:
    """Holds the parts together, and tells them what befalls the host: a move, a sleep, a set clock."""

    def __init__(self, config: Config, status: Status, places: Places) -> None:
        self._config = config
        self._status = status
        self._faults = Faults(config.host.label, status)
        self._client = ZoneClient(config, lambda: self._asker.served())
        table = LastKnown(config, places.state)
        self._asker = Remembered(config, self._client, table, self._served)
        self._locator = Locator(config, self._asker, self._vantage)
        self._rendezvous = Rendezvous(
            config, self._asker, lambda: self._presence.relay_changed(), lambda: self._presence.ask_gateway()
        )
        self._presence = Presence(
            config,
            self._client,
            places,
            status,
            self._faults,
            self._rendezvous,
            self._gateway_changed,
            self._outer_changed,
        )
        self._tunnels = Tunnels(config, self._locator, lambda: self._listing.look(), self._rendezvous)
        self._stub = Stub(Magic(config, self._asker, self._locator, self._tunnels).async_answer)
        self._list = ListFollow(config, self._client, places.state / LIST_FILE)
        always = dict.fromkeys(self._presence.own_sets, self._presence.own_changed) | {self._list.set: self._list.look}
        self._following = Following(self._locator, self._tunnels.peer_moved, always)
        self._realms = Realms(
            config,
            self._client,
            RealmFiles(config),
            REVOKED_ROOT / config.ca.name,
            self._following.beside,
            lambda known, refused: self._status.set(realms=known, realms_refused=refused),
        )
        self._listing = Listing(self._tunnels, self._locator, status, (self._following.tunnels, self._realms.met))
        self._push: PushFollower | None = None
        self._demand = Demand(config, self._locator, self._tunnels)
        self._link = Link(self._demand.packet)
        self._watch: netlink.Watch | None = None
        self._clock: clock.Watch | None = None
        self._uplink: Uplink | None = None
        self._sleeping: asyncio.Task[None] | None = None
        self._changed_at = 0.0
        servers = [ip_address(text) for text in config.server.addresses]
        self._toward = next((a for a in servers if isinstance(a, IPv4Address)), uplink.FAR4)
        self._toward6 = next((a for a in servers if isinstance(a, IPv6Address)), uplink.FAR6)

    @property
    def settled(self) -> asyncio.Event:
        """Set once the first attempt to publish has ended, well or badly."""
        return self._presence.settled

    async def async_start(self) -> None:
        """Start everything; what fails is in the status, and does not stop the rest."""
        host = self._config.host
        self._status.set(
            host=self._config.host_name.to_text(omit_final_dot=True),
            zone=self._config.zone.to_text(omit_final_dot=True),
            ula=str(host.ula),
            outer=None,
            mapping=None,
            unmapped=None,
            names=None,
            last_known=None,
            asleep=False,
            peers=[],
            overwritten=[],
            realms={},
            realms_refused={},
            follow=PollingFollower.method,
        )
        try:
            await self._stub.async_start(self._config.stub_address, self._config.stub_port)
            if self._config.resolved:
                await self._link.async_open(self._config)
            via = f"systemd-resolved on {self._config.link_name}" if self._config.resolved else "the stub only"
            self._status.set(names=via)
        except LinkError as err:
            self._faults.tell("names", err)
        self._asker.start()
        self._list.look()
        await self._following.async_use(self._follower())
        self._tunnels.start()
        if self._config.host.realm is not None:  # the role lkdc was here: a host without is no client either
            self._realms.start()
        self._uplink = uplink.find(self._toward, self._toward6)
        self._watch = netlink.Watch(self._network_changed, self._glance)
        self._clock = clock.Watch(self._leapt)
        self._presence.start(self._uplink)
        self._rendezvous.start()

    def _follower(self) -> Follower:
        """DNS Push where the zone has it; polling otherwise, and whenever no Push server answers."""
        polling = PollingFollower(self._client, self._zone_changed)
        try:
            self._push = PushFollower(self._config, self._client, self._zone_changed, polling, self._follows_by)
        except PushError as err:
            _LOGGER.warning("changes are not pushed: %s", err)
            return polling
        return self._push

    def _follows_by(self, method: str) -> None:
        self._status.set(follow=method)
        self._list.look()  # what is told at first of a new session is no change

    async def async_stop(self) -> None:
        """Stop everything, leaving zone, mapping and tunnels as they are."""
        for watch in (self._watch, self._clock):
            if watch is not None:
                watch.close()
        await self._presence.async_halt()
        if self._sleeping is not None:
            self._sleeping.cancel()
        self._presence.close()
        self._tunnels.stop()
        self._demand.stop()
        self._list.stop()
        await self._realms.async_stop()
        await self._following.async_stop()
        await self._rendezvous.async_stop()
        self._listing.stop()
        await self._stub.async_stop()
        self._asker.stop()
        self._link.close()
        self._client.drop()

    async def async_withdraw(self) -> None:
        """Take the host out of the zone, then close the mapping."""
        await self._presence.async_withdraw()

    def sleep(self) -> None:
        """Leave the zone before the host sleeps, when nobody answers for it (`facts` 5.4); `wake` ends it."""
        if self._sleeping is None:
            _LOGGER.info("going to sleep")
            self._sleeping = background.start(self._async_sleep())

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
        self._presence.forget()
        self._status.set(asleep=True)

    def _network_changed(self) -> None:
        link = uplink.find(self._toward, self._toward6)
        if link == self._uplink or self._sleeping is not None:
            return
        _LOGGER.info("network changed: %s", link or "no way out")
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

    def _outer_changed(self) -> None:
        """Whatever went through the NAT of before is dead, and where the relay saw us is the past."""
        _LOGGER.info("the gateway has another address or port for this host")
        self._renew_connections()

    def _leapt(self, leap: clock.Leap) -> None:
        if abs(leap.set_s) >= clock.LEAP_S:
            _LOGGER.info(
                "the time of day was set %s by %.0f s", "forward" if leap.set_s > 0 else "back", abs(leap.set_s)
            )
            self._presence.doubt(mapping=False)  # the trace of the lease bears the time of before
        if leap.slept_s >= clock.LEAP_S:
            _LOGGER.info("slept for %.0f s", leap.slept_s)
            self._presence.doubt(mapping=True)
        if self._sleeping is None or leap.slept_s >= clock.LEAP_S:
            self._start_over()

    def _start_over(self) -> None:
        """Look at the network again, map, publish; connections of before are not trusted."""
        self._changed_at = asyncio.get_running_loop().time()
        if self._sleeping is not None:
            self._sleeping.cancel()
            self._sleeping = None
            self._status.set(asleep=False)
        self._uplink = uplink.find(self._toward, self._toward6)
        self._renew_connections()
        self._asker.network_changed()
        self._presence.moved(self._uplink)

    def _renew_connections(self) -> None:
        self._client.drop()
        if self._push is not None:
            self._push.reconnect()
        self._rendezvous.moved()
        # First of all, and not waiting for the rest: what is in use now, and can be called from here.
        self._tunnels.moved()

    def _served(self, away_since: str | None) -> None:
        """Nobody serves the zone since then, or, None, somebody does again."""
        self._status.set(last_known=away_since)
        if away_since is None:
            self._presence.served()
            self._rendezvous.served()
            if self._push is not None:
                self._push.served()

    def _vantage(self) -> Vantage:
        return Vantage(self._uplink, self._presence.outer)

    def _zone_changed(self, name: Name, rdtype: RdataType) -> None:
        self._following.changed(name, rdtype)
        self._realms.changed(name, rdtype)
