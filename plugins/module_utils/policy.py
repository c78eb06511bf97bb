# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host may write: BIND `update-policy` rules, derived from the very records it will publish.

BIND judges name and type, never rdata, so a host could still add a foreign PTR at a shared name; everything else
of other hosts is out of its reach.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import dns.rdatatype

from .lease import Trace
from .realm import Realm
from .records import Endpoint, Host, Reach, Record, host_records, reverse_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.name import Name

# Where a host can be reached, and when, and which realm it has, is no part of what it may write; any will do.
# Two IPv6 endpoints, since the port decides at which of two names the address is.
EVERYWHERE = Reach(
    direct=(Endpoint(IPv4Address(0), 1), Endpoint(IPv6Address(0), 1), Endpoint(IPv6Address(0), 2)),
    lan=Endpoint(IPv4Address(0), 1),
)
_ANY_REALM = Realm("LKDC", b"any")
_ANY_TIME = Trace(datetime(2000, 1, 1, tzinfo=UTC), 0)


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to write RRsets of some types at one name; `shared` when many hosts have it for that name."""

    name: Name
    types: tuple[str, ...]
    shared: bool = False

    def to_text(self, key_name: Name) -> str:
        """Return the rule as a line of BIND's `update-policy`."""
        return f'grant "{key_name}" name "{self.name}" {" ".join(self.types)};'


def owned(records: Iterable[Record]) -> tuple[Grant, ...]:
    """Return one grant for each name in the records, in their order."""
    types: dict[tuple[Name, bool], dict[str, None]] = {}
    for record in records:
        kind = dns.rdatatype.to_text(record.rdata.rdtype)
        types.setdefault((record.name, record.shared), {})[kind] = None
    return tuple(Grant(name, tuple(kinds), shared) for (name, shared), kinds in types.items())


def host_grants(host: Host) -> tuple[Grant, ...]:
    """Return all grants of a host, forward ones and the one in ip6.arpa."""
    anyhow = replace(host, realm=_ANY_REALM)
    return owned((*host_records(anyhow, EVERYWHERE, _ANY_TIME), reverse_record(host)))


def grants(key_name: Name, records: Iterable[Record]) -> tuple[str, ...]:
    """Return the `update-policy` lines that let a key write exactly these records' names and types."""
    return tuple(grant.to_text(key_name) for grant in owned(records))
