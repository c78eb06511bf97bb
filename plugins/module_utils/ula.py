# SPDX-License-Identifier: GPL-3.0-or-later
"""Unique local addresses: the zone's /48 and each host's place in it (RFC 4193)."""

from __future__ import annotations

import hashlib
import time
import uuid
from ipaddress import IPv6Address, IPv6Network

# RFC 4193 section 3.1: L=1 (locally assigned) makes fc00::/7 into fd00::/8; fc00::/8 is undefined to this day.
LOCALLY_ASSIGNED = IPv6Network("fd00::/8")
# Seconds from the NTP era (1900-01-01) to the Unix epoch, RFC 5905 section 6.
NTP_EPOCH_OFFSET = 2_208_988_800


class InvalidPrefix(ValueError):
    """The text is not a /48 inside fd00::/8."""


def parse_prefix(text: str) -> IPv6Network:
    """Return ``text`` as the zone's prefix.

    Raises:
        InvalidPrefix: not an IPv6 network, host bits set, not a /48, or outside fd00::/8 (RFC 4193 section 3.1).
    """
    try:
        network = IPv6Network(text)
    except ValueError as error:
        raise InvalidPrefix(f"'{text}' is not an IPv6 prefix ({error})") from None
    if network.prefixlen != 48 or not network.subnet_of(LOCALLY_ASSIGNED):
        raise InvalidPrefix(f"'{text}' is not a /48 inside {LOCALLY_ASSIGNED}")
    return network


def draw_prefix() -> IPv6Network:
    """Draw a /48 the way RFC 4193 section 3.2.2 asks: time and a machine identifier, hashed.

    Only the controller draws, once per zone.
    """
    # netaddr is a package of the controller; the daemon on the hosts imports this file without it.
    from netaddr import EUI  # noqa: PLC0415

    seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
    ntp_time = ((seconds + NTP_EPOCH_OFFSET) % 2**32 << 32) | (fraction << 32) // 1_000_000_000
    # A machine without a MAC gets a random 48-bit number from getnode(); step 2 allows "a suitably unique identifier".
    eui64 = EUI(uuid.getnode(), version=48).modified_eui64()
    return _with_global_id(ntp_time.to_bytes(8) + int(eui64).to_bytes(8))


def stand_in_prefix(zone: str) -> IPv6Network:
    """Return a /48 to plan with (check mode) before one is drawn: the same in every task of a run, never stored."""
    return _with_global_id(b"planned " + zone.encode())


def host_address(prefix: IPv6Network, spki_der: bytes) -> IPv6Address:
    """Return the address of the host that holds the key: /48, subnet 0, first 64 bits of SHA-256 over the key.

    Args:
        prefix: the zone's /48.
        spki_der: the host's SubjectPublicKeyInfo, DER.
    """
    interface_id = hashlib.sha256(spki_der).digest()[:8]
    return IPv6Address(prefix.network_address.packed[:8] + interface_id)


def _with_global_id(key: bytes) -> IPv6Network:
    """Steps 4 to 6 of RFC 4193 section 3.2.2: the low 40 bits of SHA-1 are the Global ID."""
    # SHA-1 spreads bits here, it protects nothing.
    global_id = hashlib.sha1(key, usedforsecurity=False).digest()[-5:]
    return IPv6Network((b"\xfd" + global_id + bytes(10), 48))
