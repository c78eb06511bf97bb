# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers questions about the zone; a peer's AAAA is withheld until its tunnel carries traffic (RFC 6281 section 3)."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from .config import is_peer_address
from .errors import TunnelError, WatcherError

if TYPE_CHECKING:
    from dns.message import Message

    from .config import Config
    from .peers import Asker, Located, Locator
    from .tunnels import Tunnels

_LOGGER = logging.getLogger(__name__)

# Seconds. A resolver that kept an address longer would hand it out when the tunnel is gone.
TTL_PEER = 0
TTL_REST = 5

# After a failed set-up a resolver asks again at once, several times: all of that is one attempt.
_FAILURE_LASTS_S = 2.0

_ADDRESSES = frozenset((dns.rdatatype.A, dns.rdatatype.AAAA))
_TRANSFERS = frozenset((dns.rdatatype.AXFR, dns.rdatatype.IXFR))


class Magic:
    """Turns one question into one answer. Never raises for what a question holds."""

    def __init__(self, config: Config, client: Asker, locator: Locator, tunnels: Tunnels) -> None:
        self._config = config
        self._client = client
        self._locator = locator
        self._tunnels = tunnels
        self._failures: dict[str, tuple[float, TunnelError]] = {}
        self._fault: str | None = None

    async def async_answer(self, query: Message) -> Message:
        """Return the answer to a parsed question."""
        answer = dns.message.make_response(query, recursion_available=True)
        if query.opcode() != dns.opcode.QUERY:
            return _failed(answer, dns.rcode.NOTIMP, dns.edns.EDECode.NOT_SUPPORTED, "queries only")
        if len(query.question) != 1:
            return _failed(answer, dns.rcode.FORMERR, dns.edns.EDECode.OTHER, "one question per message")
        question = query.question[0]
        ours = question.name.is_subdomain(self._config.zone) or question.name.is_subdomain(self._config.reverse_zone)
        if not ours or question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
            # Not a resolver: what is not of the zone belongs to the system's own servers.
            return _failed(answer, dns.rcode.REFUSED, dns.edns.EDECode.NOT_AUTHORITATIVE, "serves its own zone only")
        try:
            await self._async_fill(answer, question.name, question.rdtype)
        except (WatcherError, UpdateError) as err:
            # SERVFAIL, not the NXDOMAIN of old: "try again" is the truth, and a program's error is as quick.
            if str(err) != self._fault:
                # Resolvers ask again and again: the log tells what is new.
                _LOGGER.warning("%s is not answered: %s", question.name, err)
            self._fault = str(err)
            return _failed(answer, dns.rcode.SERVFAIL, dns.edns.EDECode.NETWORK_ERROR, str(err))
        self._fault = None
        return answer

    async def _async_fill(self, answer: Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        if name == self._config.host_name and rdtype in _ADDRESSES:
            # Known here: one's own name needs no zone server, which may be away.
            if rdtype == dns.rdatatype.AAAA:
                ula = str(self._config.host.ula)
                answer.answer.append(dns.rrset.from_text(name, TTL_REST, dns.rdataclass.IN, rdtype, ula))
            return
        # Where a host is reached is asked together with its address: one round trip less before the tunnel.
        label = self._host_label(name) if rdtype == dns.rdatatype.AAAA else None
        located = asyncio.create_task(self._locator.async_locate(label)) if label else None
        try:
            upstream = await self._async_ask(name, rdtype)
            for address in _addresses(upstream):
                if is_peer_address(self._config, address):
                    await self._async_open(name, address, located)
        finally:
            if located is not None:
                located.cancel()
        answer.set_rcode(upstream.rcode())
        # Additional records are left out: they could carry an address whose tunnel nobody has asked for.
        for section, source in ((answer.answer, upstream.answer), (answer.authority, upstream.authority)):
            for rrset in source:
                if section is answer.answer or rrset.rdtype == dns.rdatatype.SOA:
                    rrset.ttl = min(rrset.ttl, TTL_PEER if rrset.rdtype == dns.rdatatype.AAAA else TTL_REST)
                    section.append(rrset)

    def _host_label(self, name: dns.name.Name) -> str | None:
        """The label of a host of the zone other than this one."""
        if name.parent() == self._config.zone and name != self._config.host_name:
            return name.labels[0].decode(errors="replace").lower()
        return None

    async def _async_open(self, name: dns.name.Name, ula: IPv6Address, located: asyncio.Task[Located] | None) -> None:
        label = self._host_label(name)
        if label is None:
            raise TunnelError(f"{name} has an address of the fleet, but is not the name of a host")
        loop = asyncio.get_running_loop()
        since, failure = self._failures.get(label, (0.0, None))
        if failure is not None and loop.time() - since < _FAILURE_LASTS_S:
            raise failure
        await (located or self._locator.async_locate(label))
        peer = self._locator.peer(label, ula)
        started = loop.time()
        try:
            how = await self._tunnels.async_ensure(peer)
        except TunnelError as err:
            self._failures[label] = (loop.time(), err)
            raise
        self._failures.pop(label, None)
        if how == "opened":
            _LOGGER.info("tunnel to %s opened in %.0f ms", peer.identity, (loop.time() - started) * 1000)

    async def _async_ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Message:
        return await self._client.async_exchange(dns.message.make_query(name, rdtype))


def _addresses(message: Message) -> list[IPv6Address]:
    return [
        IPv6Address(rdata.address) for rrset in message.answer if rrset.rdtype == dns.rdatatype.AAAA for rdata in rrset
    ]


def _failed(answer: Message, rcode: dns.rcode.Rcode, code: dns.edns.EDECode, text: str) -> Message:
    """Set an error, with its reason (RFC 8914) where the asker understands EDNS."""
    answer.set_rcode(rcode)
    if answer.edns >= 0:
        answer.use_edns(0, payload=answer.payload, options=[dns.edns.EDEOption(code, text)])
    return answer
