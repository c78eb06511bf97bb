# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the zone, and answers from what it last said while nobody can. The system's resolver is never touched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.name
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import background, names
from ansible_collections.btmm.fleet.plugins.module_utils.update import BadTime, ServerFailed, UpdateError

from .errors import ZoneServerError
from .status import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dns.message import Message
    from dns.name import Name
    from dns.rdatatype import RdataType

    from .config import Config
    from .last_known import LastKnown
    from .peers import Asker

    Question = tuple[Name, RdataType]

_LOGGER = logging.getLogger(__name__)

# Seconds. While nobody answers: between two attempts, first and most; a question hastens the next one to the least.
_PROBE_LEAST_S, _PROBE_FIRST_S, _PROBE_MOST_S = 2.0, 5.0, 20.0
_WRITE_FIRST_S, _WRITE_S = 60.0, 900.0  # from a change to the disk: soon after the start, rarely then
_LOOK_ROUND_S = (20.0, 120.0)  # after the start, a fleet that starts at once spreads its questions
_DAY_S = 86400.0
_PAUSE_S = 0.02  # between two questions of the look round: it is in no hurry
MAX_HOSTS = 256
# A server that refuses our clock, or has no zone to answer from (RFC 8767 section 5), tells as little as none.
_AWAY = (ZoneServerError, BadTime, ServerFailed)

_A, _AAAA, _PTR, _SRV, _TXT = (getattr(dns.rdatatype, kind) for kind in ("A", "AAAA", "PTR", "SRV", "TXT"))


class Remembered:
    """Stands between who asks and the zone client.

    `told` gets the time since when nobody answers, and None when somebody does again.
    """

    def __init__(self, config: Config, client: Asker, table: LastKnown, told: Callable[[str | None], object]) -> None:
        self._config = config
        self._client = client
        self._table = table
        self._told = told
        self._away: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._write_after_s = _WRITE_FIRST_S

    def start(self) -> None:
        """Read the table, and look round in the zone a little later, then daily."""
        self._table.load()
        self._rounds = background.start(self._async_look_round())

    def stop(self) -> None:
        """Write what is new."""
        for task in (self._rounds, self._away):
            if task is not None:
                task.cancel()
        if self._writing is not None:
            self._writing.cancel()
        self._table.save()

    def served(self) -> None:
        """Somebody answered, if not us: as an update, which memory has no answer to."""
        self._back()

    def network_changed(self) -> None:
        """Find out at once whether somebody serves the zone, if nobody did: it may have been the way there."""
        if self._away is not None:
            self._away.cancel()
            self._away = background.start(self._async_probe(at_once=True))

    async def async_exchange(self, message: Message) -> Message:
        """Return the zone's answer, or the last known one.

        Raises:
            ZoneServerError, BadTime, ServerFailed: no server answers, or none can, and nothing is known.
            UpdateError: the server refuses, or answers wrongly.
        """
        if self._away is not None:
            # Nobody waits for a server that was away a moment ago; whether it is back is found out beside.
            known = self._table.answer(message)
            if known is not None:
                self._asked.set()
                return known
        try:
            return self._learn(await self._client.async_exchange(message))
        except _AWAY as err:
            known = self._table.answer(message)
            if known is None:
                raise
            if self._away is None:
                _LOGGER.warning("%s; meanwhile names are answered as they were last known", err)
                self._told(now())
                self._away = background.start(self._async_probe())
            return known

    def _learn(self, answer: Message) -> Message:
        self._table.learn(answer)
        self._write_soon()
        self._back()
        return answer

    def _write_soon(self) -> None:
        if self._table.changed and self._writing is None:
            self._writing = asyncio.get_running_loop().call_later(self._write_after_s, self._write)

    def _write(self) -> None:
        self._writing = None
        self._write_after_s = _WRITE_S
        self._table.save()

    def _back(self) -> None:
        if self._away is not None:
            self._away.cancel()
            self._away = None
            _LOGGER.info("the zone is served again")
            self._told(None)

    async def _async_probe(self, *, at_once: bool = False) -> None:
        """Ask for the zone's SOA until somebody answers: soon while names are asked for, rarely otherwise."""
        wait = _PROBE_FIRST_S
        while True:
            if not at_once:
                self._asked.clear()
                await asyncio.sleep(_PROBE_LEAST_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), wait - _PROBE_LEAST_S)
            at_once = False
            try:
                await self._client.async_exchange(dns.message.make_query(self._config.zone, dns.rdatatype.SOA))
            except _AWAY:
                pass
            except UpdateError:  # an answer all the same
                self._back()
            else:
                self._back()
            wait = min(wait * 2, _PROBE_MOST_S)

    async def _async_look_round(self) -> None:
        """Ask once for each host that offers something, so that all are known when they are needed."""
        wait = random.uniform(*_LOOK_ROUND_S)  # noqa: S311 - spread, not secrecy
        while True:
            await asyncio.sleep(wait)
            with contextlib.suppress(ZoneServerError, UpdateError):
                await self._async_ask_all()
                self._table.refreshed()
                self._write_soon()
            wait = _DAY_S * random.uniform(0.9, 1.1)  # noqa: S311 - spread, not secrecy

    async def _async_ask_all(self) -> None:
        hosts: set[Name] = set()
        seen: set[Question] = set()
        zone = self._config.zone
        # Browsers ask for the SOA, too, to see what is a zone.
        open_: list[Question] = [(zone, dns.rdatatype.SOA), (names.enumeration_name(zone), _PTR)]
        while open_:
            question = open_.pop(0)
            if question in seen:
                continue
            seen.add(question)
            answer = self._learn(await self._client.async_exchange(dns.message.make_query(*question)))
            found = [rdata for rrset in answer.answer if rrset.rdtype == question[1] for rdata in rrset]
            for rdata in found:
                # What another host wrote may be no name of a host, or too long with ours.
                with contextlib.suppress(names.InvalidName, dns.exception.DNSException):
                    open_ += self._next(question, getattr(rdata, "target", None), hosts)
            await asyncio.sleep(_PAUSE_S)

    def _next(self, question: Question, target: Name | None, hosts: set[Name]) -> Iterable[Question]:
        """Return the questions that follow from one answer: types, their instances, these ones' hosts, ways to them."""
        zone = self._config.zone
        if target is None or not target.is_subdomain(zone):
            return ()
        if question[0] == names.enumeration_name(zone):
            return ((target, _PTR),)
        if question[1] == _PTR:
            info = dns.name.Name((target.labels[0], *names.service_name("_device-info._tcp", zone).labels))
            return ((target, _SRV), (target, _TXT), (info, _TXT))
        if target.parent() != zone:
            return ()
        if question[0].labels[0].startswith(b"_autotunnel"):
            return ((target, _A), (target, _AAAA))
        if target in hosts or len(hosts) >= MAX_HOSTS or target == self._config.host_name:
            return ()
        hosts.add(target)
        label = target.labels[0].decode(errors="replace")
        ways = (names.autotunnel_name(label, zone), names.autotunnel_lan_name(label, zone))
        return ((target, _AAAA), (names.kerberos_name(label, zone), _TXT), *((way, _SRV) for way in ways))
