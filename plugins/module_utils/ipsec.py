# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's tunnels are: one description, from which each IPsec program's files are rendered.

`ipsec_swanctl` renders it for strongSwan (IKEv2, or IKEv1 toward a peer with racoon), `ipsec_racoon` for racoon
(IKEv1). Standard library only: modules render on hosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv4Address, IPv6Address, IPv6Network

TUNNEL_PORT = 4500  # UDP encapsulation of ESP, and IKE beside it (RFC 3948)
INNER_MTU = 1280  # octets that any IPv6 path takes (RFC 8200 section 5), whatever IPsec and the NATs add
IDLE_S = 600  # a tunnel without traffic for so long is closed (RFC 6281 section 7.1: tunnels come and go on demand)
CALLER_DPD_S = 30  # silence after which a peer is asked whether it lives, by who called it,
ANSWERER_DPD_S = 120  # and by who was called: longer, since a host that moves calls again by itself
START = ("none", "trap", "start")  # when charon makes a tunnel by itself: never, for the first packet, at once and ever

# What the list of revoked certificates does: all three refuse who is on it; without a list in force "ifuri" refuses who
# says where to get one, and "strict" everybody. The first is strongSwan's default.
REVOCATION = ("relaxed", "ifuri", "strict")

HEADING = "# Written by Ansible (btmm.fleet)."
_MAX_PORT = 65535


class InvalidTunnel(ValueError):
    """A tunnel that can't be, or that an IPsec program can't do; one sentence with host, cause and fix."""


@dataclass(frozen=True, slots=True)
class Kem:
    """A key encapsulation that no quantum computer breaks.

    Attributes:
        keyword: in strongSwan's proposals.
        algorithm: as strongSwan lists it, and says of a tunnel that has it.
        title: for people.
    """

    keyword: str
    algorithm: str
    title: str


# FIPS 203; in IKE by draft-ietf-ipsecme-ikev2-mlkem.
ML_KEM = Kem("mlkem768", "ML_KEM_768", "ML-KEM-768")


@dataclass(frozen=True, slots=True)
class Suite:
    """Algorithms that go together.

    Attributes:
        version: of IKE; IKEv1 programs know neither GCM in phase 1 nor elliptic curves.
        bits: length of the AES key.
        prf: of SHA-2, in bits; also the integrity of IKEv1.
        group: of the key exchange, by strongSwan's name.
        kem: of a second key exchange after it (RFC 9370), whose messages go encrypted (RFC 9242); None for none.
        calls: whether callers offer it. All are answered.
    """

    version: int
    bits: int
    prf: int
    group: str
    kem: Kem | None = None
    calls: bool = True

    @property
    def ike(self) -> str:
        """The IKE proposal, as strongSwan writes it."""
        cipher = f"aes{self.bits}gcm16-prfsha{self.prf}" if self.version > 1 else f"aes{self.bits}-sha{self.prf}"
        return f"{cipher}-{self._exchanges}"

    @property
    def esp(self) -> str:
        """The ESP proposal, as strongSwan writes it."""
        cipher = f"aes{self.bits}gcm16" if self.version > 1 else f"aes{self.bits}-sha{ESP_HASH}"
        return f"{cipher}-{self._exchanges}"

    @property
    def _exchanges(self) -> str:
        return f"{self.group}-ke1_{self.kem.keyword}" if self.kem is not None else self.group


# PF_KEY cuts HMAC-SHA-256 to 96 bits where all others take 128 (RFC 4868): both ends say "established", and each packet
# of one is dropped by the other. With SHA-512 all agree.
ESP_HASH = 512

# In order of preference. The hybrid one begins with the group of the next ones, so a peer that does not know it takes
# one of these in its first answer. What is recorded today shall stay secret for long, hence its longer key.
SUITES = (
    Suite(2, 256, 384, "x25519", ML_KEM),
    Suite(2, 256, 384, "x25519", calls=False),
    Suite(2, 128, 256, "x25519"),
    Suite(2, 256, 384, "ecp256"),
    Suite(1, 256, 256, "modp2048"),
)


def exchange_title(algorithm: str) -> str:
    """Return the name of a key exchange, which strongSwan lists as CURVE_25519 or ECP_256, for people."""
    known = {ML_KEM.algorithm: ML_KEM.title, "CURVE_25519": "x25519"}
    return known.get(algorithm) or algorithm.replace("_", "").lower()


@dataclass(frozen=True, slots=True)
class Proposals:
    """What is offered or answered, in order of preference, as strongSwan writes it."""

    ike: tuple[str, ...]
    esp: tuple[str, ...]


def suites(version: int, *, calling: bool, algorithms: Collection[str] = ()) -> tuple[Suite, ...]:
    """Return what fits, in order of preference.

    Args:
        version: of IKE.
        calling: whether it is to be offered, not answered.
        algorithms: what the host's strongSwan lists, which depends on how it was built more than on its version. With
            a KEM that it has not, 5.9.8 refuses the connection, and 6.0.1 fails each call for which that is chosen.
    """
    return tuple(
        suite
        for suite in SUITES
        if suite.version == version
        and (suite.calls or not calling)
        and (suite.kem is None or suite.kem.algorithm in algorithms)
    )


def proposals(version: int, *, calling: bool, algorithms: Collection[str] = ()) -> Proposals:
    """Return the same as texts."""
    chosen = suites(version, calling=calling, algorithms=algorithms)
    return Proposals(tuple(suite.ike for suite in chosen), tuple(suite.esp for suite in chosen))


@dataclass(frozen=True, slots=True)
class Local:
    """The own end: the name that the certificate bears, the ULA, the zone's /48, the UDP port of IKE and ESP."""

    identity: str
    ula: IPv6Address
    prefix: IPv6Network
    port: int = TUNNEL_PORT

    def __post_init__(self) -> None:
        check_identity(self.identity)
        check_port(self.identity, self.port)
        if self.ula not in self.prefix:
            raise InvalidTunnel(f"{self.identity} has {self.ula}, which is not in {self.prefix}: give it one of these")


@dataclass(frozen=True, slots=True)
class Remote:
    """A peer: its name, its ULA, and the outer address and port at which it is called (none: it only calls)."""

    identity: str
    ula: IPv6Address
    address: IPv4Address | IPv6Address | None = None
    port: int = TUNNEL_PORT

    def __post_init__(self) -> None:
        check_identity(self.identity)
        check_port(self.identity, self.port)


@dataclass(frozen=True, slots=True)
class Outer:
    """UDP ports of IKE at both ends, and whether ESP goes in UDP, too."""

    local: int
    remote: int
    encapsulated: bool


# Over IPv6 racoon can neither take ESP out of UDP nor leave port 500, and charon must have that open then.
RACOON6 = Outer(500, 500, encapsulated=False)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel to one peer, or, without `remote`, the one by which every host with a certificate of the owner comes in.

    `dpd_s`, `idle_s`: seconds; 0 never asks, never closes. `unique`: charon's word on other tunnels to the same peer.
    `start`: one of `START`; `revocation`: one of `REVOCATION`.
    """

    local: Local
    remote: Remote | None
    proposals: Proposals
    version: int
    dpd_s: int
    idle_s: int = IDLE_S
    unique: str | None = None
    start: str = "none"
    revocation: str = REVOCATION[0]

    @property
    def outer(self) -> Outer:
        """How its packets look from outside."""
        address = self.remote.address if self.remote is not None else None
        if self.version == 1 and address is not None and address.version == 6:
            return RACOON6
        return Outer(self.local.port, self.remote.port if self.remote is not None else TUNNEL_PORT, encapsulated=True)


def inbound(local: Local, wanted: Proposals, *, dpd_s: int = ANSWERER_DPD_S, idle_s: int = IDLE_S) -> Tunnel:
    """Return the tunnel for all who call. Both ends may call at once, so nobody's other tunnel is closed for it."""
    return Tunnel(local, None, wanted, 2, dpd_s, idle_s, unique="no")


def outbound(
    local: Local, remote: Remote, *, version: int = 2, start: str = "none", algorithms: Collection[str] = ()
) -> Tunnel:
    """Return the tunnel by which a peer is called: IKEv1 where it has racoon; `algorithms` as for `suites`.

    Raises:
        InvalidTunnel: the peer can't be called.
    """
    if remote.address is None:
        raise InvalidTunnel(f"{remote.identity} can't be called: nothing says where it is; give its address and port")
    wanted = proposals(version, calling=True, algorithms=algorithms)
    return Tunnel(local, remote, wanted, version, CALLER_DPD_S, start=start)


def answering(local: Local, remote: Remote) -> Tunnel:
    """Return the tunnel by which a peer comes in whom `inbound` does not serve: one with racoon, so IKEv1."""
    return Tunnel(local, remote, proposals(1, calling=False), 1, ANSWERER_DPD_S, unique="no")


def check_peers(local: Local, peers: Iterable[Remote]) -> None:
    """Make sure that no two hosts are one: of two with the same name or addresses a program would take either.

    Raises:
        InvalidTunnel: two have a name, a ULA or an outer address with its port in common.
    """
    seen: dict[object, str] = {local.identity: local.identity, local.ula: local.identity}
    for peer in peers:
        outer = (peer.address, peer.port) if peer.address is not None else None
        for key in (peer.identity, peer.ula, outer):
            if key in seen:
                what = " port ".join(str(part) for part in key) if isinstance(key, tuple) else key
                raise InvalidTunnel(f"{peer.identity} and {seen[key]} both have {what}: name each host once")
            if key is not None:
                seen[key] = peer.identity
        if peer.ula not in local.prefix:
            raise InvalidTunnel(f"{peer.identity} has {peer.ula}, which is not in {local.prefix}: correct its ULA")


def check_identity(identity: str) -> None:
    """Make sure that a name is one: it stands in the files of IPsec programs, where other characters have a meaning."""
    if not identity or not all(char.isascii() and (char.isalnum() or char in "-._") for char in identity):
        raise InvalidTunnel(f"{identity!r} is no name of a host: give its name in the zone, such as imac.bob.example")


def check_port(identity: str, port: int) -> None:
    """Make sure that a port is one."""
    if not 0 < port <= _MAX_PORT:
        raise InvalidTunnel(f"{identity} has the port {port}: give one from 1 to {_MAX_PORT}")
