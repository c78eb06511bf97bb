# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a relay: what it asks for is done, what was asked of it is waited for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from ansible_collections.btmm.fleet.plugins.module_utils import rendezvous as wire
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from . import opener
from .errors import RelayError
from .portmap.mapping import TUNNEL_PORT

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from .relay_discovery import Found

_LOGGER = logging.getLogger(__name__)

CONNECT_S = 3.0
ANSWER_S = 3.0  # the relay itself gives up sooner, and says why
# Seconds after which a token is sent again, while the relay did not see it.
_REPEATS = (0.0, 0.1, 0.3, 0.8, 2.0, 5.0)


class Sender(Protocol):
    """Sends one UDP datagram from a port that is not ours."""

    def __call__(self, payload: bytes, source_port: int, address: IPv4Address | IPv6Address, port: int) -> None:
        """Send, or raise OSError."""


class FlowOwner(Protocol):
    """Who remembers flows over the end of a connection."""

    def flow_opened(self, flow: str, peer: str, port: int) -> None:
        """Note a flow: the peer's label and our port at the relay."""

    def punched(self, remote: Endpoint) -> None:
        """Note where a peer will call from, for which our NAT was opened."""

    def flow_ended(self, flow: str) -> None:
        """Forget a flow."""


class Connection:
    """A connection to a relay, from the TLS handshake on."""

    def __init__(
        self,
        found: Found,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        owner: FlowOwner,
        send: Sender,
    ) -> None:
        self.found = found
        self.observed: Endpoint | None = None
        self.steady = False
        self._reader = reader
        self._writer = writer
        self._owner = owner
        self._send = send
        self._waiting: dict[int, asyncio.Future[wire.Ready]] = {}
        self._own_ports: tuple[int, ...] = ()  # of the relay, that only observe
        self._seen: dict[int, Endpoint] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}

    def send(self, message: wire.Message) -> None:
        """Send, or drop when the connection is about to end."""
        if not self._writer.transport.is_closing():
            self._writer.write(wire.encode(message))

    async def async_request(self, message: wire.Connect) -> wire.Ready:
        """Return the answer to a request.

        Raises:
            RelayError: refused, lost or late.
        """
        answer: asyncio.Future[wire.Ready] = asyncio.get_running_loop().create_future()
        self._waiting[message.number] = answer
        try:
            self.send(message)
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError as error:
            raise RelayError("the relay does not answer") from error
        finally:
            self._waiting.pop(message.number, None)

    async def async_run(self, seen: Callable[[], None]) -> None:
        """Read until the end; call `seen` when the relay saw our outer port, first or anew.

        Raises:
            RelayError: always, when the connection ends.
        """
        alive = asyncio.create_task(self._async_alive())
        try:
            while True:
                async with asyncio.timeout(wire.ALIVE_S + 10.0):
                    length = wire.message_length(await self._reader.readexactly(2))
                    message = wire.decode(await self._reader.readexactly(length), wire.FROM_RELAY)
                if self._take(message):
                    seen()
        except TimeoutError as error:
            raise RelayError(f"{self.found.where} is silent") from error
        except (asyncio.IncompleteReadError, OSError) as error:
            raise RelayError(f"{self.found.where} closed the connection: see its log") from error
        except wire.RendezvousError as error:
            raise RelayError(f"{self.found.where} speaks another language ({error}): update both") from error
        finally:
            alive.cancel()

    def close(self) -> None:
        """Close, and fail what waits."""
        self._writer.transport.abort()
        for task in self._opening.values():
            task.cancel()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(RelayError("the connection to the relay was lost"))

    def _take(self, message: wire.Message) -> bool:
        """Do what a message asks for; tell whether our outer endpoint is known anew."""
        match message:
            case wire.Open():
                self._open(message)
            case wire.Observed():
                return self._observe(message)
            case wire.Punch():
                self._send_udp(opener.KEEPALIVE, message.address, message.port)
                self._owner.punched(Endpoint(message.address, message.port))
                self.send(wire.Punched(message.flow))
            case wire.Ready() | wire.Failed():
                self._answer(message)
            case wire.Ended():
                self._owner.flow_ended(message.flow)
        return False

    def _answer(self, message: wire.Ready | wire.Failed) -> None:
        answer = self._waiting.get(message.number)
        if answer is None or answer.done():
            return
        if isinstance(message, wire.Ready):
            answer.set_result(message)
        else:
            answer.set_exception(RelayError(message.reason))

    def _open(self, message: wire.Open) -> None:
        if not message.peer:
            self._own_ports = message.ports
        elif len(message.ports) == 1:
            self._owner.flow_opened(message.flow, message.peer, message.ports[0])
        for port in message.ports:
            self._stop_opening(port)
            datagram = wire.token_datagram(message.token)
            self._opening[port] = asyncio.create_task(self._async_open(port, datagram))

    def _stop_opening(self, port: int) -> None:
        former = self._opening.pop(port, None)
        if former is not None:
            former.cancel()

    def _observe(self, message: wire.Observed) -> bool:
        self._stop_opening(message.port)
        if message.port not in self._own_ports:
            return False
        self._seen[message.port] = Endpoint(message.address, message.outer_port)
        if len(self._seen) < len(self._own_ports):
            return False
        steady, observed = len(set(self._seen.values())) == 1, next(iter(self._seen.values()))
        before = self.steady, self.observed
        self.steady, self.observed = steady, observed
        return before != (steady, observed)

    async def _async_open(self, port: int, datagram: bytes) -> None:
        for wait in _REPEATS:
            await asyncio.sleep(wait)
            self._send_udp(datagram, self.found.address, port)

    def _send_udp(self, datagram: bytes, address: IPv4Address | IPv6Address, port: int) -> None:
        try:
            self._send(datagram, TUNNEL_PORT, address, port)
        except OSError as error:
            _LOGGER.warning("nothing can be sent from UDP %d to %s: %s", TUNNEL_PORT, address, error.strerror)

    async def _async_alive(self) -> None:
        while True:
            await asyncio.sleep(wire.ALIVE_S)
            self.send(wire.Ping())


async def async_connect(found: list[Found], context: ssl.SSLContext, owner: FlowOwner, send: Sender) -> Connection:
    """Connect to the first of the addresses that answers.

    Raises:
        RelayError: none does, or none has the certificate that it should have.
    """
    causes = []
    for each in found:
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    str(each.address), each.server.port, ssl=context, server_hostname=each.host, limit=1 << 12
                )
        except (OSError, TimeoutError) as error:
            causes.append(f"{each.where}: {getattr(error, 'strerror', None) or error or 'no answer'}")
        else:
            return Connection(each, reader, writer, owner, send)
    raise RelayError("; ".join(causes))
