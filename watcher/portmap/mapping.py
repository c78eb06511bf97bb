# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway granted, when to renew it, and what its outer address says of further NATs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Literal

from ..errors import CarrierNatError, DoubleNatError, PortMapError
from ..uplink import is_private

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

TUNNEL_PORT = 4500  # UDP encapsulation of ESP and IKE (RFC 3948)
LIFETIME_S = 7200  # RFC 6886 section 3.3 recommends it

Method = Literal["none", "pcp", "nat-pmp", "upnp"]

# RFC 6598; RFC 7335 (the inner addresses of DS-Lite and 464XLAT): only a provider's NAT has these.
_CARRIER = (IPv4Network("100.64.0.0/10"), IPv4Network("192.0.0.0/24"))

_SHORTEST_S = 4.0  # RFC 6887 section 11.2.1: renewals are never closer


@dataclass(frozen=True, slots=True)
class Grant:
    """One answer of a gateway; `lifetime_s` None means for ever, `epoch_s` None that the protocol has none."""

    method: Method
    outer: Endpoint
    lifetime_s: float | None
    epoch_s: int | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where this host is reached from outside.

    `expires_at` and the `renewals` are seconds of `clock.boottime`; None and empty when nothing has to be renewed.
    """

    outer: Endpoint
    method: Method
    lifetime: float | None = None
    expires_at: float | None = None
    renewals: tuple[float, ...] = ()

    @property
    def renew_at(self) -> float | None:
        """When to renew."""
        return self.renewals[0] if self.renewals else None

    def differs_from(self, observed: IPv4Address) -> PortMapError | None:
        """Return what is wrong when a server on the Internet sees this host at `observed`; None when nothing is."""
        if observed == self.outer.address or self.method == "none":
            return None
        return DoubleNatError(
            f"the gateway says that its outer address is {self.outer.address}, but from outside it is {observed}, so"
            " another NAT stands between: put one of them in bridge mode, or ask the provider for a public IPv4 address"
        )


def from_grant(grant: Grant, now: float) -> Mapping:
    """Make of a gateway's answer, that came at `now`, what is kept."""
    if grant.lifetime_s is None:
        # Nothing says when a gateway forgot a permanent mapping (UPnP), so it is looked after as often as any other.
        return Mapping(grant.outer, grant.method, renewals=(now + LIFETIME_S / 2,))
    return Mapping(
        outer=grant.outer,
        method=grant.method,
        lifetime=grant.lifetime_s,
        expires_at=now + grant.lifetime_s,
        renewals=_schedule(grant.method, grant.lifetime_s, now),
    )


def _schedule(method: Method, lifetime_s: float, now: float) -> tuple[float, ...]:
    if method == "pcp":
        # RFC 6887 section 11.2.1: a random moment in each of these, so that a gateway's clients do not march.
        shares = [random.uniform(*span) for span in ((1 / 2, 5 / 8), (3 / 4, 13 / 16), (7 / 8, 29 / 32))]  # noqa: S311
    else:
        shares = [1 / 2, 3 / 4, 7 / 8]  # RFC 6886 section 3.3: halfway; then as PCP
    whens: list[float] = []
    for share in shares:
        when = now + lifetime_s * share
        whens.append(max(when, (whens[-1] if whens else now) + _SHORTEST_S))
    return tuple(whens)


def check_outer(gateway: IPv4Address, outer: IPv4Address) -> None:
    """See that an outer address is one that the Internet reaches.

    Raises:
        PortMapError: it is not; says which NAT stands between.
    """
    if outer == IPv4Address(0):
        # RFC 6886 section 3.2.1: a gateway without an address on its outer side may say so by 0.0.0.0.
        raise PortMapError(f"the gateway {gateway} has no outer address: check its uplink")
    if any(outer in net for net in _CARRIER):
        raise CarrierNatError(
            f"the gateway {gateway} is behind the provider's NAT (its outer address {outer} is shared by many):"
            " ask the provider for a public IPv4 address, or for IPv6"
        )
    if is_private(outer):
        raise DoubleNatError(
            f"the gateway {gateway} is itself behind a NAT (its outer address {outer} is private):"
            " put it in bridge mode, or ask the provider for a public IPv4 address"
        )
