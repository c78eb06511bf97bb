# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases of what a host publishes: the EDNS option that asks for one, and the record that lets others judge it.

RFC 9664 has the client ask for a lease in each UPDATE, and the server forget what is not refreshed in time. BIND and
Knot know nothing of it, so a host also leaves a trace, a TXT record at `_lease.H.Z` that says when it refreshed and for
how long; a sweeper beside the server judges it. The trace is this project's invention; the option is not.
"""

from __future__ import annotations

import random
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dns.edns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.message import Message

OPTION = dns.edns.OptionType.make(2)  # UPDATE-LEASE (RFC 9664, section 4)
LEASE_S = 7200  # what every Apple release asked for
ADVISED_S = 1800  # RFC 9664 advises against shorter ones
MINIMUM_S = 30
MAXIMUM_S = 86400
MAXIMUM_KEY_S = 7 * 86400

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")  # RFC 3339, in UTC and to the second
_SECONDS = re.compile(r"\d{1,10}")


class InvalidLease(ValueError):
    """Octets or strings that are no lease."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The option's data: seconds until records are forgotten, and until KEY records are (None: the short form)."""

    lease_s: int
    key_lease_s: int | None = None

    def to_wire(self) -> bytes:
        """Return the option's 4 or 8 octets (RFC 9664, section 4)."""
        if self.key_lease_s is None:
            return struct.pack("!I", self.lease_s)
        return struct.pack("!II", self.lease_s, self.key_lease_s)

    @classmethod
    def from_wire(cls, data: bytes) -> Lease:
        """Read the option's data.

        Raises:
            InvalidLease: it has neither 4 nor 8 octets.
        """
        if len(data) not in {4, 8}:
            raise InvalidLease(f"an update lease has 4 or 8 octets, not {len(data)}")
        return cls(*struct.unpack(f"!{len(data) // 4}I", data))

    def clamped(self) -> Lease:
        """Return the lease within the limits of RFC 9664: 30 s to 24 h, for keys to 7 days."""
        key = self.key_lease_s
        return Lease(
            min(max(self.lease_s, MINIMUM_S), MAXIMUM_S),
            None if key is None else min(max(key, MINIMUM_S), MAXIMUM_KEY_S),
        )


def ask(message: Message, lease: Lease) -> None:
    """Have an UPDATE ask for a lease; call it before the message is signed, since TSIG covers the option."""
    message.use_edns(0, options=[dns.edns.GenericOption(OPTION, lease.to_wire())])


def told(message: Message) -> Lease | None:
    """Return the lease that a message carries; None when it carries none, or none that can be read."""
    for option in message.options:
        if option.otype == OPTION:
            try:
                return Lease.from_wire(option.to_wire() or b"")
            except InvalidLease:
                return None
    return None


def granted(response: Message, asked: Lease) -> Lease:
    """Return the lease that holds after a server's answer: the server's when it tells one, else what was asked for."""
    return (told(response) or asked).clamped()


def refresh_after(lease: Lease) -> float:
    """Return seconds until the next refresh: 80 % of the lease and at random up to 5 % more (RFC 9664, section 5.2)."""
    return lease.lease_s * random.uniform(0.80, 0.85)  # noqa: S311 - spread, not secrecy


@dataclass(frozen=True, slots=True)
class Trace:
    """When a host refreshed (UTC, to the second), and for how many seconds that holds."""

    refreshed: datetime
    lease_s: int

    def to_strings(self) -> tuple[str, str]:
        """Return the TXT strings."""
        return f"refreshed={self.refreshed.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", f"lease={self.lease_s}"

    @classmethod
    def from_strings(cls, strings: Iterable[bytes]) -> Trace:
        """Read the TXT strings; of a key that is there twice the first counts (RFC 6763, section 6.4).

        Raises:
            InvalidLease: they are no trace.
        """
        values: dict[str, str] = {}
        for string in strings:
            key, _, value = string.decode("ascii", errors="replace").partition("=")
            values.setdefault(key.lower(), value)
        time, lease = values.get("refreshed", ""), values.get("lease", "")
        if not _TIME.fullmatch(time) or not _SECONDS.fullmatch(lease):
            raise InvalidLease("a trace has refreshed=<time in UTC> and lease=<seconds>")
        try:
            refreshed = datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:  # such as 30 February
            raise InvalidLease(f"{time} is no time") from error
        return cls(refreshed, int(lease))

    def ends(self, floor_s: int = MINIMUM_S) -> datetime:
        """Return when the lease runs out, counting at least `floor_s` and at most 24 h from the refresh.

        Raises:
            OverflowError: the end is not in the calendar's range (year 9999).
        """
        return self.refreshed + timedelta(seconds=max(min(self.lease_s, MAXIMUM_S), floor_s))
