# SPDX-License-Identifier: GPL-3.0-or-later
"""One configuration at work: the stub and its link, and the loop that keeps the host mapped and published."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint, Reach
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from . import netlink, uplink
from .backoff import Backoff, is_final
from .errors import LinkError, PortMapError, WatcherError, ZoneServerError
from .link import Link
from .magic import Magic
from .portmap import TUNNEL_PORT, PortMapper
from .publish import Publisher
from .status import now
from .stub import Stub
from .tunnels import Tunnels
from .zone_client import ZoneClient

if TYPE_CHECKING:
    from .config import Config
    from .places import Places
    from .portmap import Mapping
    from .status import Status
    from .uplink import Uplink

_LOGGER = logging.getLogger(__name__)

# Seconds. The event loop's clock stands still while the host sleeps, and the lease goes on: how soon it is seen.
LOOK_S = 60.0


class Instance:
    """Holds the parts together; `settled` is set once the first attempt to publish has ended, well or badly."""

    def __init__(self, config: Config, status: Status, places: Places) -> None:
        self.settled = asyncio.Event()
        self._config = config
        self._status = status
        self._client = ZoneClient(config)
        self._publisher = Publisher(config, self._client, places.state)
        self._mapper = PortMapper(places.shared)
        self._tunnels = Tunnels(config, self._peers_changed)
        self._stub = Stub(Magic(config, self._client, self._tunnels).async_answer)
        self._link = Link()
        self._watch: netlink.Watch | None = None
        self._reaching: asyncio.Task[None] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._uplink: Uplink | None = None
        self._mapping: Mapping | None = None
        self._faults: dict[str, Exception] = {}
        servers = [ip_address(text) for text in config.server.addresses]
        self._toward = next((a for a in servers if isinstance(a, IPv4Address)), IPv4Address("192.0.2.1"))

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
            peers=[],
        )
        try:
            await self._stub.async_start(self._config.stub_address, self._config.stub_port)
            if self._config.resolved:
                await self._link.async_open(self._config)
            via = f"systemd-resolved on {self._config.link_name}" if self._config.resolved else "the stub only"
            self._status.set(names=via)
        except LinkError as err:
            self._tell("names", err)
        self._tunnels.start()
        self._uplink = uplink.find(self._toward)
        self._watch = netlink.Watch(self._network_changed)
        self._reaching = asyncio.create_task(self._async_reach())

    async def async_stop(self) -> None:
        """Stop everything, leaving zone, mapping and tunnels as they are."""
        if self._watch is not None:
            self._watch.close()
        await self._async_halt()
        self._tunnels.stop()
        if self._listing is not None:
            self._listing.cancel()
        await self._stub.async_stop()
        self._link.close()
        self._client.drop()

    async def async_withdraw(self, *, keep_mapping: bool) -> None:
        """Take the host out of the zone, then close the mapping (RFC 6281 section 3; `facts` 3.2, tear-down).

        ``keep_mapping``: another zone of this host is still reached by it.
        """
        await self._async_halt()
        try:
            if await self._publisher.async_withdraw():
                _LOGGER.info("withdrawn from the zone")
        except (ZoneServerError, UpdateError) as err:
            _LOGGER.warning("not withdrawn: %s", err)
        if self._uplink is not None and self._mapping is not None and not keep_mapping:
            await self._mapper.async_release(self._uplink)

    async def _async_halt(self) -> None:
        if self._reaching is not None:
            self._reaching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaching

    def _network_changed(self) -> None:
        link = uplink.find(self._toward)
        if link == self._uplink:
            return
        _LOGGER.info("network changed: %s", _describe(link))
        self._uplink = link
        self._mapping = None
        self._client.drop()
        if self._reaching is not None:
            self._reaching.cancel()
        self._reaching = asyncio.create_task(self._async_reach())

    async def _async_reach(self) -> None:
        """Map, publish, wait until mapping or lease have to be renewed; on failure wait and try again."""
        backoff = Backoff()
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
                while (left := self._renew_in()) > 0:  # noqa: ASYNC110 - what is waited for is a time of day
                    await asyncio.sleep(min(left, LOOK_S))

    def _renew_in(self) -> float:
        """Return seconds until mapping or lease have to be renewed, whichever is first."""
        refresh = self._publisher.refresh_in()
        renew_at = self._mapping.renew_at if self._mapping else None
        return min(
            math.inf if refresh is None else refresh,
            math.inf if renew_at is None else renew_at - asyncio.get_running_loop().time(),
        )

    async def _async_map_and_publish(self) -> None:
        link = self._uplink
        if link is None:
            raise PortMapError(f"no IPv4 route leads to the zone server {self._toward}: check the network")
        try:
            mapping = await self._mapper.async_obtain(link)
        except PortMapError:
            if not self._still_mapped():
                self._mapping = None
                self._status.set(outer=None, mapping=None)
                # An address in the zone that leads nowhere costs every peer a time-out.
                with contextlib.suppress(ZoneServerError, UpdateError):
                    if await self._publisher.async_withdraw():
                        _LOGGER.info("withdrawn from the zone, since no mapping can be had")
            raise
        self._mapping = mapping
        outer = f"{mapping.outer.address}:{mapping.outer.port}"
        gateway = str(link.gateway) if mapping.renew_at is not None else None
        if self._status.set(outer=outer, mapping={"method": mapping.method, "gateway": gateway}):
            _LOGGER.info("reached from outside at %s (mapping: %s)", outer, mapping.method)
        if await self._publisher.async_publish(_reach(link, mapping)):
            _LOGGER.info("published in %s", self._config.zone)
            self._status.set(published={"time": now(), "outer": outer})
        self._tell("reach", None)

    def _still_mapped(self) -> bool:
        expires_at = self._mapping.expires_at if self._mapping else None
        return expires_at is not None and expires_at > asyncio.get_running_loop().time()

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
        self._status.set(
            peers=[
                {"name": t.identity, "address": t.address, "outer": t.remote, "connection": t.connection}
                for t in tunnels
            ]
        )


def _reach(link: Uplink, mapping: Mapping) -> Reach:
    # Behind a NAT the own address is a way, too: for peers on the same LAN, whom the router may not send back in.
    inner = Endpoint(link.address, TUNNEL_PORT) if mapping.outer.address != link.address else None
    return Reach(direct=(mapping.outer,), lan=inner)


def _describe(link: Uplink | None) -> str:
    if link is None:
        return "no way out"
    return f"{link.address} by gateway {link.gateway}" if link.gateway else f"{link.address} without a gateway"
