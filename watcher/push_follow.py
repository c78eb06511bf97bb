# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows RRsets by DNS Push (RFC 8765) or LLQ (RFC 8764) where the zone offers it, and by another way else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Literal

import dns.message
import dns.name
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import background, names
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushClient, PushError, Server
from ansible_collections.btmm.fleet.plugins.module_utils.tls import client_context
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
from dns.rdatatype import RdataType

from .errors import WatcherError
from .lookup import async_lookup

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Change
    from dns.name import Name

    from .config import Config
    from .follow import Follower, RRsetName
    from .peers import Asker

_LOGGER = logging.getLogger(__name__)

# The best first: RFC 8765 section 6.1, then RFC 8764 section 4, by TLS before UDP, which any router on the way reads.
SERVICES: tuple[tuple[str, Literal["push", "llq-tls", "llq"]], ...] = (
    ("_dns-push-tls._tcp", "push"),
    ("_dns-llq-tls._tcp", "llq-tls"),
    ("_dns-llq._udp", "llq"),
)


def make_client(
    config: Config,
    asker: Asker,
    on_changes: Callable[[Sequence[Change]], None],
    on_state: Callable[[Server | None, PushError | None], None],
    on_refused: Callable[[AbstractSet[Question]], None],
) -> PushClient:
    """Return a client of the zone's Push and LLQ servers, with this host's key.

    Raises:
        PushError: the owner CA can't be read.
    """

    def make_context() -> ssl.SSLContext:
        try:
            return client_context(config.ca, ["dot"])
        except OSError as err:
            raise PushError(f"the owner CA {config.ca} can't be read ({err}): run the role identity") from err

    make_context()  # who can't is told now

    async def async_servers() -> list[Server]:
        return await async_find_servers(config, asker)

    return PushClient(async_servers, make_context, on_changes, on_state, config.key, on_refused)


async def async_find_servers(config: Config, asker: Asker) -> list[Server]:
    """Return the zone's Push servers, then its LLQ servers, each kind the best first (RFC 2782).

    Raises:
        PushError: the zone names none, or can't be asked.
    """
    known = {each.name: each.addresses for each in (config.server, *config.secondaries)}
    found = []
    try:
        answers = await asyncio.gather(
            *(async_lookup(asker, dns.name.from_text(service, config.zone), RdataType.SRV) for service, _ in SERVICES)
        )
        for (_, kind), records in zip(SERVICES, answers, strict=True):
            for record in sorted(records, key=lambda each: (each.priority, -each.weight)):
                if record.target == dns.name.root:
                    continue  # the service is decidedly not there
                name = record.target.to_text(omit_final_dot=True)
                if name not in known:
                    known[name] = await _async_addresses(asker, record.target)
                # By UDP, only the setup shows whether an address answers.
                ways = [(each,) for each in known[name]] if kind == "llq" else [known[name]]
                found += [Server(name, way, record.port, kind) for way in ways]
    except (WatcherError, UpdateError) as err:
        raise PushError(str(err)) from err
    if not found:
        raise PushError(f"{config.zone} names no Push or LLQ server: run the role notifier on its zone host")
    return found


async def _async_addresses(asker: Asker, name: Name) -> tuple[str, ...]:
    kinds = (RdataType.A, RdataType.AAAA)
    return tuple([record.address for kind in kinds for record in await async_lookup(asker, name, kind)])


class PushFollower:
    """Push or LLQ while there is a session; `otherwise` while there is none, and for what the server refuses."""

    def __init__(
        self,
        config: Config,
        asker: Asker,
        changed: Callable[[Name, RdataType], None],
        otherwise: Follower,
        told: Callable[[str], object],
    ) -> None:
        """Remember what to do.

        Args:
            config: the zone and this host's key.
            asker: finds the servers.
            changed: called with the RRset that is another one now.
            otherwise: watches what no server follows.
            told: called with the method whenever it is another one.

        Raises:
            PushError: the owner CA can't be read.
        """
        self._client = make_client(config, asker, self._on_changes, self._on_state, self._on_refused)
        self._first = names.crl_name(config.zone)
        self._changed = changed
        self._otherwise = otherwise
        self._told = told
        self._sets: AbstractSet[RRsetName] = frozenset()
        self._fresh: set[RRsetName] = set()  # asked for, and their first answers are not complete yet
        self._refused: AbstractSet[RRsetName] = frozenset()
        self._server: Server | None = None
        self._running: asyncio.Task[None] | None = None
        self._switching: asyncio.Task[None] | None = None

    @property
    def method(self) -> str:
        """How it learns of changes now."""
        return self._server.method if self._server else self._otherwise.method

    async def async_follow(self, sets: AbstractSet[RRsetName]) -> None:
        """Watch exactly these RRsets from now on."""
        self._fresh = (self._fresh | (sets - self._sets)) & sets
        self._sets = sets
        # A server may follow no more than some: who is revoked counts most.
        ordered = sorted(sets, key=lambda each: each[0] != self._first)
        self._client.follow(Question(name, int(rdtype)) for name, rdtype in ordered)
        if self._running is None:
            self._running = background.start(self._client.async_run())
        await self._otherwise.async_follow(self._left())

    async def async_stop(self) -> None:
        """Watch nothing more."""
        for task in (self._running, self._switching):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._running = None
        await self._otherwise.async_stop()

    def reconnect(self) -> None:
        """Use the network as it is now, after this host has moved."""
        self._client.reconnect()

    def served(self) -> None:
        """The zone host is back: ask for a session now, if there is none."""
        if self._server is None:
            self._client.hasten()

    def _on_changes(self, changes: Sequence[Change]) -> None:
        different = dict.fromkeys((change.name, RdataType.make(change.rdtype)) for change in changes)
        for name, rdtype in different:
            # What is told of a question at first is how things are, and no change.
            if (name, rdtype) in self._sets and (name, rdtype) not in self._fresh:
                self._changed(name, rdtype)

    def _on_state(self, server: Server | None, _: PushError | None) -> None:
        if server is None:
            self._refused = frozenset()
        else:
            if self._server is None:
                for name, rdtype in self._fresh:
                    self._changed(name, rdtype)  # it may be, since it was polled last
            self._fresh.clear()
        if server != self._server:
            self._server = server
            self._note_refused()
            self._told(self.method)
            self._switch()

    def _on_refused(self, questions: AbstractSet[Question]) -> None:
        before, self._refused = self._refused, {(each.name, RdataType.make(each.rdtype)) for each in questions}
        if not before:
            self._note_refused()
        for name, rdtype in before & self._sets - self._refused:
            self._changed(name, rdtype)  # it may be, since it was polled last
        self._switch()

    def _note_refused(self) -> None:
        if self._server is not None and self._refused:
            _LOGGER.warning("%s follows no more, so %d record sets are polled", self._server, len(self._refused))

    def _switch(self) -> None:
        if self._switching is not None:
            self._switching.cancel()
        self._switching = background.start(self._async_switch())

    async def _async_switch(self) -> None:
        await self._otherwise.async_follow(self._left())

    def _left(self) -> AbstractSet[RRsetName]:
        """Return what no server follows."""
        return self._sets if self._server is None else self._sets & self._refused
