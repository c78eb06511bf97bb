# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the mapping of UDP 4500 at the gateway of one uplink: own address, PCP, NAT-PMP or UPnP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from ..clock import boottime
from ..errors import NoIpv4Error, PortMapError, SilentGatewayError
from . import ask
from .announce import Announcement, Listener
from .epoch import Epochs
from .gateway import Gateway
from .igd_client import Igd
from .mapping import TUNNEL_PORT, Grant, Mapping, check_outer, from_grant
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address
    from pathlib import Path

    from ..uplink import Uplink
    from .store import Memory

_LOGGER = logging.getLogger(__name__)

# Seconds. Both RFCs ask for 0 to 5 s, so that thousands of mappings are not made at once; one host has one mapping, and
# every second here is one in which it can't be reached. What is left spreads the few hosts of a LAN.
_JITTER_S = 0.1

# Seconds of silence on UDP 5351 after which the search for a UPnP gateway starts beside it.
_UPNP_AFTER_S = 0.75


class Mapper:
    """Asks the gateway of one uplink at a time.

    Args:
        state_dir: shared by all daemons of this host.
        changed: called when the gateway told by itself that the mapping is another one, or lost; `async_obtain` knows.
    """

    def __init__(self, state_dir: Path, changed: Callable[[], None] = lambda: None) -> None:
        self._store = Store(state_dir)
        self._changed = changed
        self._one_at_a_time = asyncio.Lock()
        self._link: Uplink | None = None
        self._mapping: Mapping | None = None
        self._due = False
        self._epochs = Epochs()
        self._lost = False
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    async def async_obtain(self, link: Uplink) -> Mapping:
        """Return the mapping for `link`; asks the gateway when there is none yet, or when it has to be renewed.

        Raises:
            PortMapError: none can be had; one sentence with cause and fix.
        """
        async with self._one_at_a_time:
            if link != self._link:
                await self._async_move(link)
            mapping = self._mapping
            if mapping is not None and not self._due and (mapping.renew_at is None or mapping.renew_at > boottime()):
                return mapping
            self._mapping = await self._async_renew(link, mapping)
            self._due = False
            return self._mapping

    def doubt(self) -> None:
        """Have the next `async_obtain` ask the gateway: after a suspend nobody knows what it still holds."""
        self._due = True

    async def async_release(self) -> None:
        """Delete the mapping unless another daemon of this host uses it; never raises, the lease ends anyway."""
        link, mapping = self._link, self._mapping
        self._halt()
        with self._store.leaving() as alone:
            if not alone or mapping is None or link is None or link.gateway is None or link.address is None:
                return
            memory = self._store.recall(link.gateway)
            try:
                if mapping.method == "upnp":
                    async with Igd(link.address, link.gateway) as igd:
                        await igd.async_unmap(mapping.outer.port)
                else:
                    async with Gateway(link.gateway, link.address) as gateway:
                        await ask.async_delete(gateway, link.address, memory, mapping.method)
            except PortMapError as err:
                _LOGGER.warning("the mapping is left to its lease: %s", err)

    def close(self) -> None:
        """Stop listening to the gateway; the mapping stays."""
        self._halt()
        self._store.leave()

    def _halt(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._link = None
        self._mapping = None

    async def _async_move(self, link: Uplink) -> None:
        self._link = link
        self._mapping = None
        self._epochs = Epochs()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if link.behind_nat and link.gateway is not None and link.address is not None:
            listener = Listener(link.gateway, link.address, self._announced)
            try:
                await listener.async_open()
            except OSError as err:
                _LOGGER.warning("announcements of the gateway %s are not heard: %s", link.gateway, err)
            else:
                self._listener = listener

    async def _async_renew(self, link: Uplink, before: Mapping | None) -> Mapping:
        try:
            mapping = await self._async_ask(link, before)
        except SilentGatewayError as err:
            held = self._held(before)
            if held is None:
                raise
            # What a silent gateway holds, it may still hold; RFC 6887 section 11.2.1 asks twice more before the end.
            _LOGGER.warning("the mapping at %s is not renewed yet: %s", held.outer, err)
            return held
        if self._lost:
            _LOGGER.info("the gateway %s had lost its mappings", link.gateway)
            self._lost = False
        return mapping

    def _held(self, mapping: Mapping | None) -> Mapping | None:
        """Return a mapping that is still good, with the renewals that are left."""
        now = boottime()
        if mapping is None or self._lost or mapping.expires_at is None or mapping.expires_at <= now:
            return None
        left = tuple(when for when in mapping.renewals if when > now)
        return replace(mapping, renewals=left or (mapping.expires_at,))

    async def _async_ask(self, link: Uplink, before: Mapping | None) -> Mapping:
        if link.address is None:
            raise NoIpv4Error("this host has no IPv4 way out: check the network, if it should have one")
        if not link.behind_nat or link.gateway is None:
            return Mapping(Endpoint(link.address, TUNNEL_PORT), "none")
        await self._store.async_join()
        memory = self._store.recall(link.gateway)
        if before is not None and before.method == "upnp":
            grant = await self._async_upnp(link.gateway, link.address, memory.port)
        else:
            grant = await self._async_first(link.gateway, link.address, memory)
        now = boottime()
        if self._epochs.lost(grant.method, grant.epoch_s, now):
            self._lost = True
        if (memory.port, memory.method) != (grant.outer.port, grant.method):
            self._store.note(link.gateway, grant.outer.port, grant.method)
        return from_grant(grant, now)

    async def _async_first(self, gateway: IPv4Address, own: IPv4Address, memory: Memory) -> Grant:
        """Ask in PCP and NAT-PMP, and look for UPnP meanwhile when there is no quick answer."""
        async with contextlib.AsyncExitStack() as stack:
            igd = Igd(own, gateway)
            stack.push_async_callback(igd.async_close)
            after = 0.0 if memory.method == "upnp" else _UPNP_AFTER_S
            search = asyncio.get_running_loop().call_later(after, igd.start)
            stack.callback(search.cancel)
            try:
                async with Gateway(gateway, own) as asked:
                    return await ask.async_map(asked, own, memory)
            except SilentGatewayError as err:
                igd.start()
                try:
                    return await self._async_upnp(gateway, own, memory.port, igd)
                except SilentGatewayError as none:
                    raise SilentGatewayError(
                        f"{err}, and {none}: switch PCP, NAT-PMP or UPnP on in its settings"
                    ) from none

    async def _async_upnp(self, gateway: IPv4Address, own: IPv4Address, port: int, igd: Igd | None = None) -> Grant:
        async with igd or Igd(own, gateway) as found:
            outer = await found.async_outer()
            check_outer(gateway, outer)
            mapped, lifetime_s = await found.async_map(port)
        return Grant("upnp", Endpoint(outer, mapped), lifetime_s)

    def _announced(self, announcement: Announcement) -> None:
        """Ask again at once, unless it tells what is known: each is sent ten times."""
        lost = self._epochs.lost(announcement.method, announcement.epoch_s, boottime())
        known = self._mapping.outer.address if self._mapping is not None else None
        # PCP names no address, and miniupnpd's epoch goes on over a restart that empties its table: so it says nothing.
        if announcement.method == "nat-pmp" and announcement.address == known and not lost:
            return
        self._lost = self._lost or lost
        if self._timer is None:
            delay = random.uniform(0, _JITTER_S)  # noqa: S311 - spread, not secrecy
            self._timer = asyncio.get_running_loop().call_later(delay, self._ask_again)

    def _ask_again(self) -> None:
        loop = asyncio.get_running_loop()
        if self._asking is None or self._asking.done():
            self._timer = None
            self._asking = background.start(self._async_ask_again())
        else:
            self._timer = loop.call_later(_JITTER_S, self._ask_again)  # what is on its way was asked before

    async def _async_ask_again(self) -> None:
        link, before, lost = self._link, self._mapping, self._lost
        if link is None:
            return
        self._due = True
        try:
            after = await self.async_obtain(link)
        except PortMapError:
            self._mapping = None
            self._changed()  # who asks now is told
        else:
            if lost or before is None or after.outer != before.outer:
                self._changed()
