# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels as racoon takes them: racoon.conf (IKEv1, main mode, RSA certificates) and the policies for setkey.

Racoon signs with RSA keys only, and knows no address blocks in certificates (RFC 3779). So it is told of every peer:
which name may have which ULA stands in that peer's ``sainfo``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from .ipsec import CALLER_DPD_S, ESP_HASH, HEADING, RACOON6, InvalidTunnel, check_identity, check_peers, suites

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from .ipsec import Local, Remote

_KEEPALIVE_S = 20  # NATs forget UDP bindings after 30 s and more (RFC 3948 section 4)


@dataclass(frozen=True, slots=True)
class Site:
    """A host with racoon.

    Attributes:
        system: its kernel, which decides what can be carried in what.
        local: the own end.
        outer: addresses at which racoon listens.
        directory: folder below which the three files are, absolute.
        certificate: its own certificate, with `local.identity` as a subjectAltName.
        key: the RSA key of that.
        authority: the owner CA's certificate.
    """

    system: Literal["linux", "bsd"]
    local: Local
    outer: tuple[IPv4Address | IPv6Address, ...]
    directory: str
    certificate: str
    key: str
    authority: str

    def __post_init__(self) -> None:
        if not self.outer:
            raise InvalidTunnel(f"{self.local.identity} has no outer address: name those at which racoon listens")
        for path in (self.certificate, self.key, self.authority, self.directory[1:]):
            for name in PurePosixPath(path).parts or ("",):
                check_identity(name)
        if not self.directory.startswith("/"):
            raise InvalidTunnel(f"{self.directory!r} is relative: give the folder of the certificates as /...")


def configuration(site: Site, peers: Sequence[Remote]) -> str:
    """Return racoon.conf.

    Raises:
        InvalidTunnel: racoon on this system can't carry the traffic of a peer, or would mix up two of them.
    """
    check_peers(site.local, peers)
    for peer in peers:
        outer_for(site.system, site.local.identity, site.outer, peer)
    blocks = [
        HEADING,
        f'path certificate "{site.directory}";',
        _block("listen", [*(_listening(site, address) for address in _used(site)), "strict_address"]),
        _block("timer", [f"natt_keepalive {_KEEPALIVE_S} sec"]),
    ]
    for peer in peers:
        if peer.address is not None:
            port = peer.port if peer.address.version == 4 else RACOON6.remote
            blocks.append(_remote(site, f"{peer.address} [{port}]", [peer], natt=peer.address.version == 4))
    if peers:
        natt = any(address.version == 4 for address in _used(site))
        blocks.append(_remote(site, "anonymous", peers, natt=natt, answers=("passive on", "generate_policy unique")))
    blocks += [_sainfo(site, peer) for peer in peers]
    return "\n".join(blocks) + "\n"


def policies(site: Site, peers: Sequence[Remote]) -> str:
    """Return what setkey is to add, for the peers that are called. For those that call, racoon makes the policies.

    Raises:
        InvalidTunnel: as `configuration`.
    """
    check_peers(site.local, peers)
    lines = [HEADING]
    for peer in peers:
        own = outer_for(site.system, site.local.identity, site.outer, peer)
        if peer.address is None:
            continue
        for selector, direction, ends in _directions(site, peer, own):
            lines.append(f"spdadd {selector} any -P {direction} ipsec esp/tunnel/{ends}/require;")
    return "\n".join(lines) + "\n"


def difference(before: str, after: str) -> str:
    """Return what setkey is to do so that the policies of one file take the place of another's; all others stay.

    A policy that is in both is not touched, since its associations would go with it.
    """
    old, new = ([line for line in text.splitlines() if line.startswith("spdadd ")] for text in (before, after))
    gone = [line for line in old if line not in new]
    deleted = [f"{line.replace('spdadd', 'spddelete', 1).partition(' ipsec ')[0]};" for line in gone]
    return "".join(f"{line}\n" for line in (*deleted, *(line for line in new if line not in old)))


def outer_for(
    system: str, identity: str, outer: Iterable[IPv4Address | IPv6Address], peer: Remote
) -> IPv4Address | IPv6Address:
    """Return the own address from which a peer is called, of those in `outer`.

    Args:
        system: "linux" or "bsd".
        identity: the own host's.
        outer: its addresses, the preferred first.
        peer: whom to call, or by whom to be called.

    Raises:
        InvalidTunnel: racoon can't carry the traffic of the two over any of them.
    """
    own, name = list(outer), peer.identity
    wanted = {peer.address.version} if peer.address is not None else {4, 6}
    if system == "linux":
        if wanted == {4} or not any(address.version == 6 for address in own):
            raise InvalidTunnel(
                f"{identity} can't reach {name} by racoon: on Linux its associations get a selector of the "
                "outer family, so the kernel never uses them for IPv6 in IPv4, and every packet is lost; take "
                "strongSwan, or IPv6 outside"
            )
        wanted = {6}
    for address in own:
        if address.version in wanted:
            return address
    raise InvalidTunnel(
        f"{identity} has no outer address of the family of {peer.address} ({name}): name one, or another "
        "way to the peer"
    )


def _directions(site: Site, peer: Remote, own: IPv4Address | IPv6Address) -> tuple[tuple[str, str, str], ...]:
    here, there = f"{site.local.ula}/128", f"{peer.ula}/128"
    return (
        (f"{here} {there}", "out", f"{own}-{peer.address}"),
        (f"{there} {here}", "in", f"{peer.address}-{own}"),
    )


def _used(site: Site) -> list[IPv4Address | IPv6Address]:
    return [address for address in site.outer if site.system == "bsd" or address.version == 6]


def _listening(site: Site, address: IPv4Address | IPv6Address) -> str:
    # Racoon takes ESP in UDP on IPv4 sockets only. There 500 stays closed: from it a call to another port lacks the
    # non-ESP marker, and gets no answer.
    if address.version == 4:
        return f"isakmp_natt {address} [{site.local.port}]"
    return f"isakmp {address} [{RACOON6.remote}]"


def _remote(site: Site, index: str, peers: Sequence[Remote], *, natt: bool, answers: Sequence[str] = ()) -> str:
    return _block(
        f"remote {index}",
        [
            "exchange_mode main",
            f'certificate_type x509 "{site.certificate}" "{site.key}"',
            f'ca_type x509 "{site.authority}"',
            f'my_identifier fqdn "{site.local.identity}"',
            *(f'peers_identifier fqdn "{peer.identity}"' for peer in peers),
            "verify_identifier on",
            "verify_cert on",
            f"nat_traversal {'force' if natt else 'off'}",
            "ike_frag on",
            f"dpd_delay {CALLER_DPD_S}",
            "proposal_check claim",
            "lifetime time 8 hour",
            *answers,
        ],
        [
            _block(
                "proposal",
                [
                    f"encryption_algorithm aes {suite.bits}",
                    f"hash_algorithm sha{suite.prf}",
                    "authentication_method rsasig",
                    f"dh_group {suite.group}",
                ],
            )
            for suite in suites(1, calling=True)
        ],
    )


def _sainfo(site: Site, peer: Remote) -> str:
    (suite, *_) = suites(1, calling=True)
    return _block(
        f'sainfo address {site.local.ula} any address {peer.ula} any from fqdn "{peer.identity}"',
        [
            f"pfs_group {suite.group}",
            "lifetime time 1 hour",
            f"encryption_algorithm aes {suite.bits}",
            f"authentication_algorithm hmac_sha{ESP_HASH}",
            "compression_algorithm deflate",  # must stand there; only a policy with ipcomp would use it
        ],
    )


def _block(head: str, statements: Iterable[str], blocks: Iterable[str] = ()) -> str:
    inner = [f"{statement};" for statement in statements] + list(blocks)
    body = "\n".join(f"  {line}" for part in inner for line in part.split("\n"))
    return f"{head} {{\n{body}\n}}"
