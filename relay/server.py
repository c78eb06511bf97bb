# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay: hosts register over TLS with their own certificates, and are brought together on request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import (
    MEDIATED,
    Connect,
    Ended,
    Failed,
    Message,
    Observed,
    Open,
    Punched,
    Ready,
    Resume,
)

from .datagram import Address, outer
from .errors import RelayError
from .flows import End, Flow, FlowTable, seen_at
from .matchmaker import Matchmaker
from .observer import Observer
from .session import Session

if TYPE_CHECKING:
    import ssl

    from .limits import Limits

_LOGGER = logging.getLogger(__name__)

OPEN_WITHIN_S = 2.0
HANDSHAKE_S = 5.0


class Relay:
    """Holds sessions, flows and meetings together.

    Args:
        zone: the owner's zone in lower case, without final dot.
        port: TCP for control; UDP of this number and the next observe.
        ports: UDP ports for flows.
    """

    def __init__(self, zone: str, port: int, ports: range, limits: Limits) -> None:
        self._suffix = f".{zone}"
        self._port = port
        self._limits = limits
        self._sessions: dict[str, Session] = {}
        self._tokens: dict[str, Session] = {}
        self._flows = FlowTable(ports, limits, self._opened, self._ended)
        self._observer = Observer((port, port + 1), self._observed)
        self._matchmaker = Matchmaker(self._observer.ports)
        self._server: asyncio.Server | None = None

    @property
    def summary(self) -> str:
        """How busy the relay is, for people."""
        return f"{len(self._sessions)} hosts, {len(self._flows)} flows, {self._flows.forwarded} datagrams forwarded"

    async def async_start(self, context: ssl.SSLContext) -> None:
        """Listen on both families.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(
            self._async_serve, None, self._port, ssl=context, ssl_handshake_timeout=HANDSHAKE_S, limit=1 << 12
        )

    async def async_stop(self) -> None:
        """Close everything; the hosts come back, and resume their flows, when the relay runs again."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions.values()):
            session.close()
        self._matchmaker.close()
        self._flows.close()
        self._observer.close()

    async def _async_serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            label = self._label(writer.get_extra_info("peercert") or {})
            if len(self._sessions) >= self._limits.hosts and label not in self._sessions:
                raise RelayError(f"{self._limits.hosts} hosts are connected, which is the limit")
        except RelayError as error:
            _LOGGER.warning("%s is refused: %s", writer.get_extra_info("peername")[0], error)
            writer.transport.abort()
            return
        session = Session(label, reader, writer)
        former = self._sessions.get(label)
        if former is not None:
            # A host that moved is back before its old connection is known to be dead.
            self._forget(former)
        self._sessions[label] = self._tokens[session.token] = session
        session.observe(self._observer.ports, session.token)
        _LOGGER.info("%s registered from %s", label, writer.get_extra_info("peername")[0])
        reason = await session.async_run(self._handle)
        if self._sessions.get(label) is session:
            _LOGGER.info("%s left: %s", label, reason)
            self._forget(session)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _label(self, certificate: dict[str, Any]) -> str:
        """Return the label of the host that a verified certificate names: it speaks for this one alone."""
        names: list[str] = [value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        labels = {name.removesuffix(self._suffix) for name in names if name.endswith(self._suffix)}
        if len(labels) != 1 or "." in (label := labels.pop()):
            raise RelayError(f"its certificate names no single host of the zone {self._suffix[1:]}")
        return label

    def _forget(self, session: Session) -> None:
        del self._sessions[session.label]
        del self._tokens[session.token]
        self._matchmaker.lost(session)
        session.close()

    def _handle(self, session: Session, message: Message) -> None:
        if isinstance(message, Connect):
            try:
                self._connect(session, message)
            except RelayError as error:
                session.send(Failed(message.number, str(error)))
        elif isinstance(message, Resume):
            try:
                flow = self._flows.resume(message.flow, session.label, message.peer, message.port)
            except RelayError as error:
                _LOGGER.info("%s can't resume its flow with %s: %s", session.label, message.peer, error)
                session.send(Ended(message.flow))
            else:
                self._open(flow, session)
        elif isinstance(message, Punched):
            self._matchmaker.punched(session, message.flow)

    def _connect(self, session: Session, message: Connect) -> None:
        peer = self._sessions.get(message.peer)
        if peer is None or peer is session:
            raise RelayError(f"{message.peer} is not connected to the relay")
        if message.way == MEDIATED:
            self._matchmaker.begin(session, peer, message.number)
            return
        flow = self._flows.obtain(session.label, peer.label)
        flow.wanted_by[session.label] = message.number
        flow.opened.clear()
        asyncio.get_running_loop().call_later(OPEN_WITHIN_S, self._give_up, flow, session, message.number)
        for each in (session, peer):
            self._open(flow, each)

    def _open(self, flow: Flow, session: Session) -> None:
        (peer,) = flow.labels - {session.label}
        end = flow.ends[session.label]
        session.send(Open(flow.name, peer, end.renew_token(), (end.port,)))

    def _opened(self, flow: Flow, end: End) -> None:
        session = self._sessions.get(end.label)
        if session is not None and end.address is not None:
            session.send(Observed(end.port, *outer(end.address)))
        if flow.opened != flow.labels:
            return
        if flow.wanted_by:
            first, second = flow.ends.values()
            _LOGGER.info("%s (%s) and %s (%s) are relayed", first.label, seen_at(first), second.label, seen_at(second))
        for label, number in flow.wanted_by.items():
            caller = self._sessions.get(label)
            if caller is not None:
                caller.send(Ready(number, flow.name, None, flow.ends[label].port))
        flow.wanted_by.clear()

    def _give_up(self, flow: Flow, session: Session, number: int) -> None:
        if flow.wanted_by.get(session.label) == number:
            del flow.wanted_by[session.label]
            silent = ", ".join(sorted(flow.labels - flow.opened)) or "nobody"
            session.send(Failed(number, f"no datagram from UDP 4500 of {silent} reached the relay"))

    def _ended(self, flow: Flow) -> None:
        _LOGGER.info("the flow of %s is idle: ended", " and ".join(sorted(flow.labels)))
        for label in flow.labels:
            session = self._sessions.get(label)
            if session is not None:
                session.send(Ended(flow.name))

    def _observed(self, token: str, port: int, source: Address) -> None:
        session = self._tokens.get(token)
        if session is None:
            return
        session.seen[port] = outer(source)
        session.send(Observed(port, *session.seen[port]))
        self._matchmaker.seen(session)
