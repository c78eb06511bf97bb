# SPDX-License-Identifier: GPL-3.0-or-later
"""This host at the zone's relay: found by SRV, kept registered, asked for ways to peers that nobody can call."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections import deque
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background
from ansible_collections.btmm.fleet.plugins.module_utils import rendezvous as wire
from ansible_collections.btmm.fleet.plugins.module_utils.ipsec import TUNNEL_PORT
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from . import opener, relay_discovery
from .backoff import Backoff
from .errors import RelayError, TunnelError, WatcherError
from .relay_connection import Connection, async_connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from ansible_collections.btmm.fleet.plugins.module_utils.records import Server

    from .config import Config
    from .peers import Asker, Way
    from .relay_connection import Sender
    from .relay_discovery import Found

_LOGGER = logging.getLogger(__name__)

# Seconds.
NONE_AGAIN_S = 900.0  # a zone without a relay may get one
REGISTER_S = 1.5  # how long a request waits for the connection
KEPT_S = 30.0  # a relay that restarts is back sooner: the zone need not be told twice


class Rendezvous:
    """Keeps one control connection.

    Args:
        config: the zone, this host's certificate and the owner CA.
        client: finds the relay.
        changed: called when what is to be published of it is another, and when we are seen elsewhere.
        returned: called when it is there again after a loss that we did not cause: what forgot it may have forgotten
            more.
        send: sends from UDP 4500.
    """

    def __init__(
        self,
        config: Config,
        client: Asker,
        changed: Callable[[], None],
        returned: Callable[[], None] = lambda: None,
        send: Sender = opener.send,
    ) -> None:
        self._config = config
        self._client = client
        self._changed = changed
        self._returned = returned
        self._send = send
        self._numbers = itertools.count(1)
        self._running: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._flows: dict[str, tuple[str, int]] = {}  # peer's label and our port at the relay, by the flow's name
        self._mediated: deque[Endpoint] = deque(maxlen=64)
        self._registered = asyncio.Event()
        self._relays: tuple[Server, ...] = ()
        self._mediators: tuple[Server, ...] = ()
        self._seen_at: IPv4Address | IPv6Address | None = None
        self._lost = False
        self._forgetting: asyncio.TimerHandle | None = None

    @property
    def relays(self) -> tuple[Server, ...]:
        """The relay that reaches this host, to be published."""
        return self._relays

    @property
    def mediators(self) -> tuple[Server, ...]:
        """The same, where our NAT maps UDP 4500 to one outer port for everybody (RFC 4787 section 4.1)."""
        return self._mediators

    @property
    def observed(self) -> Endpoint | None:
        """Where the relay sees our UDP 4500; None while it does not."""
        return self._connection.observed if self._connection else None

    def rung_of(self, remote: Endpoint) -> str | None:
        """Return "mediated" or "relayed" when a tunnel's other end is there by our doing, else None."""
        if self._connection is not None and remote.address == self._connection.found.address:
            # At its own port the zone host is a peer as any other.
            return wire.RELAYED if remote.port != TUNNEL_PORT else None
        return wire.MEDIATED if remote in self._mediated else None

    def start(self) -> None:
        """Look for a relay, and stay registered."""
        self._running = background.start(self._async_run())

    async def async_stop(self) -> None:
        """Leave the relay. Flows go on as long as the tunnels in them."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        # Last, since leaving begins to forget: by then another instance publishes this host.
        if self._forgetting is not None:
            self._forgetting.cancel()

    def moved(self) -> None:
        """Register again at once, from another address."""
        if self._running is not None:
            self._running.cancel()
            # Where we are seen now is news, even if it is where we were: the mapping may be another.
            self._connection = self._seen_at = None
            self._registered.clear()
            self._lost = False
            self.start()

    def served(self) -> None:
        """The zone host is back: who was waiting for the next attempt waits no longer."""
        if self._connection is None:
            self.moved()

    async def async_prepare(self, identity: str, way: Way) -> Endpoint:
        """Have the relay make a way to a peer, and return where to call it.

        Raises:
            TunnelError: there is none; one sentence says why.
        """
        if self._running is not None:
            with contextlib.suppress(TimeoutError):  # this host moved just now
                async with asyncio.timeout(REGISTER_S):
                    await self._registered.wait()
        connection = self._connection
        if connection is None:
            raise TunnelError(f"no relay of {self._config.zone} is reached: see 'btmm status'")
        if way.rung == wire.MEDIATED and connection.observed is not None and not connection.steady:
            raise TunnelError(f"{identity} can't be mediated: our NAT gives another port to every destination")
        label = identity.partition(".")[0]
        try:
            ready = await connection.async_request(wire.Connect(next(self._numbers), label, way.rung))
        except RelayError as error:
            raise TunnelError(f"{identity} can't be {way.rung}: {error}") from error
        endpoint = Endpoint(ready.address or connection.found.address, ready.port)
        if way.rung == wire.MEDIATED:
            self.punched(endpoint)
        return endpoint

    async def _async_run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                found = await relay_discovery.async_find(self._client, self._config.zone)
                if not found:
                    await asyncio.sleep(NONE_AGAIN_S)
                    continue
                await self._async_stay(found, backoff)
            except (WatcherError, UpdateError) as error:
                _LOGGER.warning("not at the relay: %s", error)
                await asyncio.sleep(backoff.next(error))

    async def _async_stay(self, found: list[Found], backoff: Backoff) -> None:
        """Register at the first relay that answers, and return by RelayError when it is lost."""
        connection = await async_connect(found, self._context(), self, self._send)
        self._connection = connection
        self._registered.set()

        def seen() -> None:
            backoff.reset()
            self._learn(connection)
            if self._lost:
                self._lost = False
                self._returned()

        try:
            for flow, (peer, port) in self._flows.items():
                connection.send(wire.Resume(flow, peer, port))
            await connection.async_run(seen)
        except RelayError:
            self._lost = True
            raise
        finally:
            connection.close()
            if self._connection is connection:
                self._connection = None
                self._registered.clear()
            if self._forgetting is None:
                self._forgetting = asyncio.get_running_loop().call_later(KEPT_S, self._learn, None)

    def _learn(self, connection: Connection | None) -> None:
        """Note where we are registered, and how our NAT is."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        relays = (connection.found.server,) if connection else ()
        mediators = relays if connection and connection.steady else ()
        seen_at = connection.observed.address if connection and connection.observed else self._seen_at
        if (relays, mediators, seen_at) != (self._relays, self._mediators, self._seen_at):
            self._relays, self._mediators, self._seen_at = relays, mediators, seen_at
            self._changed()

    def flow_opened(self, flow: str, peer: str, port: int) -> None:
        """Note a flow, to resume it when the relay was restarted or this host moved."""
        if self._flows.get(flow) != (peer, port):
            self._flows = {name: each for name, each in self._flows.items() if each[0] != peer}
            self._flows[flow] = peer, port

    def punched(self, remote: Endpoint) -> None:
        """Note where a mediated peer is."""
        if remote not in self._mediated:
            self._mediated.append(remote)

    def flow_ended(self, flow: str) -> None:
        """Forget a flow."""
        self._flows.pop(flow, None)

    def _context(self) -> ssl.SSLContext:
        certificate = self._config.certificate
        key = certificate.parent.parent / "private" / certificate.name
        try:
            context = ssl.create_default_context(cafile=str(self._config.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.set_alpn_protocols([wire.PROTOCOL])
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise RelayError(f"key or certificate in {certificate.parent.parent} can't be read ({error})") from error
        return context
