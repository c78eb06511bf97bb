# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a peer can be reached: what the zone says of it (RFC 6281 section 3, RFC 2782), seen from where we are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Protocol

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.records import (
    MEDIATED,
    RELAYED,
    TTL_HOST,
    Endpoint,
    Reach,
    Server,
)
from dns.rdtypes.IN.SRV import SRV

from .lookup import async_lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dns.message import Message
    from dns.name import Name
    from dns.rdata import Rdata
    from dns.rdatatype import RdataType

    from .config import Config
    from .uplink import Uplink

_A, _AAAA, _PTR, _SRV = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.PTR, dns.rdatatype.SRV


class Asker(Protocol):
    """Who answers questions about the zone: a `ZoneClient`, for example."""

    async def async_exchange(self, message: Message) -> Message:
        """Return the verified answer."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a peer. `rung` is lan, direct6, direct, mediated or relayed; the last two go by a server."""

    rung: str
    at: Endpoint | Server

    def __str__(self) -> str:
        return f"{self.at} ({self.rung})" if isinstance(self.at, Endpoint) else f"{self.rung} by {self.at.name}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host of the fleet: its label, its name (which its certificate bears), its ULA, the ways to it."""

    label: str
    identity: str
    ula: IPv6Address
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Vantage:
    """From where we look: our ways out, and our outer IPv4 address where it is known."""

    link: Uplink | None = None
    outer: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """What the zone says of a peer; `sets` are the RRsets that said so, `ttl` the shortest of their lives (s)."""

    reach: Reach
    sets: frozenset[tuple[Name, RdataType]]
    ttl: int


class Rendezvous(Protocol):
    """Makes a way to a peer by a server."""

    def rung_of(self, remote: Endpoint) -> str | None:
        """Return "mediated" or "relayed" when a tunnel's other end is there by its doing, else None."""

    async def async_prepare(self, identity: str, way: Way) -> Endpoint:
        """Return where to call the peer.

        Raises:
            TunnelError: the server is away, or the peer is not registered there.
        """


def ways(reach: Reach, vantage: Vantage) -> tuple[Way, ...]:
    """Return the ways to a peer that can work from here, the best first."""
    link = vantage.link
    if link is None:
        return ()
    found = []
    direct4 = [endpoint for endpoint in reach.direct if endpoint.address.version == 4]
    lan = reach.lan
    if lan is not None and isinstance(lan.address, IPv4Address) and link.on_link(lan.address):
        # Half the world's LANs are 192.168.1.0/24: only behind the same outer address it can be the same one.
        outers = {endpoint.address for endpoint in direct4}
        if vantage.outer is None or not outers or vantage.outer in outers:
            found.append(Way("lan", lan))
    if link.address6 is not None:
        found += [Way("direct6", endpoint) for endpoint in reach.direct if endpoint.address.version == 6]
    if link.address is not None:
        found += [Way("direct", endpoint) for endpoint in direct4]
    found += [Way("mediated", server) for server in reach.mediators]
    found += [Way("relayed", server) for server in reach.relays]
    return tuple(found)


class Locator:
    """Asks the zone for peers, and remembers what it said last."""

    def __init__(self, config: Config, asker: Asker, vantage: Callable[[], Vantage] = Vantage) -> None:
        self._config = config
        self._asker = asker
        self._vantage = vantage
        self._known: dict[str, Located] = {}
        self._owners: dict[IPv6Address, str] = {}

    def peer(self, label: str, ula: IPv6Address) -> Peer:
        """Return the peer as it is known now; without ways when it was never located, or nothing leads there."""
        self._owners[ula] = label
        located = self._known.get(label)
        identity = names.host_name(label, self._config.zone).to_text(omit_final_dot=True)
        return Peer(label, identity, ula, ways(located.reach, self._vantage()) if located else ())

    def owner(self, ula: IPv6Address) -> str | None:
        """Return the label of the host that had an address last; None when nobody asked for it yet."""
        return self._owners.get(ula)

    def known(self, label: str) -> Located | None:
        """Return what the zone said last."""
        return self._known.get(label)

    def rung_of(self, remote: IPv4Address | IPv6Address) -> str:
        """Return by which direct way a tunnel to an address goes."""
        if isinstance(remote, IPv6Address):
            return "direct6"
        link = self._vantage().link
        return "lan" if link is not None and link.on_link(remote) and link.behind_nat else "direct"

    def is_published(self, identity: str, remote: Endpoint) -> bool:
        """Return whether a peer says that it can be called there without help, whatever helped it there before."""
        located = self._known.get(self.label_of(identity) or "")
        return located is not None and remote in located.reach.direct

    def label_of(self, identity: str) -> str | None:
        """Return the label of a peer by the name in its certificate; None for one of another zone."""
        label, _, zone = identity.partition(".")
        return label if zone == self._config.zone.to_text(omit_final_dot=True) else None

    async def async_locate(self, label: str) -> Located:
        """Ask where a peer is: two rounds of questions, each all at once.

        Raises:
            ZoneServerError, UpdateError: the zone could not be asked.
        """
        zone = self._config.zone
        asked = [names.autotunnel_name(label, zone), names.autotunnel_lan_name(label, zone)]
        public, inner = await asyncio.gather(*(async_lookup(self._asker, name, _SRV) for name in asked))
        targets = list(dict.fromkeys(srv.target for srv in _sorted((*public, *inner)) if srv.priority < MEDIATED))
        questions = [(target, rdtype) for target in targets for rdtype in (_A, _AAAA)]
        answers = await asyncio.gather(*(async_lookup(self._asker, *question) for question in questions))
        addresses: dict[Name, list[IPv4Address | IPv6Address]] = {}
        for (target, _), answer in zip(questions, answers, strict=True):
            addresses.setdefault(target, []).extend(ip_address(rdata.address) for rdata in answer)
        direct = [
            Endpoint(address, srv.port)
            for srv in _sorted(public)
            if srv.priority < MEDIATED
            for address in addresses[srv.target]
        ]
        lans = [Endpoint(address, srv.port) for srv in _sorted(inner) for address in addresses.get(srv.target, ())]
        servers = {
            priority: tuple(Server(srv.target, srv.port) for srv in _sorted(public) if srv.priority == priority)
            for priority in (MEDIATED, RELAYED)
        }
        located = Located(
            Reach(tuple(direct), lans[0] if lans else None, servers[MEDIATED], servers[RELAYED]),
            frozenset(((asked[0], _SRV), (asked[1], _SRV), *questions)),
            TTL_HOST,
        )
        self._known[label] = located
        return located

    async def async_whose(self, ula: IPv6Address) -> str | None:
        """Return the label of the host at an address of the fleet; None when no host is there.

        Raises:
            ZoneServerError, UpdateError: the zone could not be asked.
        """
        for pointer in await async_lookup(self._asker, names.reverse_name(ula), _PTR):
            name: Name = pointer.target
            if name.parent() == self._config.zone:
                return name.labels[0].decode(errors="replace").lower()
        return None


def _sorted(srvs: Iterable[Rdata]) -> list[SRV]:
    return sorted((srv for srv in srvs if isinstance(srv, SRV)), key=lambda srv: (srv.priority, -srv.weight))
