# SPDX-License-Identifier: GPL-3.0-or-later
"""TSIG (RFC 8945) for messages that are octets already; the signature itself is dnspython's."""

from __future__ import annotations

import struct
import time

import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.rdtypes.ANY.TSIG import TSIG

FUDGE_S = 300  # RFC 8945 section 10 recommends it

_RECORD = struct.Struct("!HHIH")
_COUNT = struct.Struct("!H")
_ARCOUNT = 10  # where in a header it is


def sign(wire: bytes, key: dns.tsig.Key, request_mac: bytes = b"") -> tuple[bytes, bytes]:
    """Return a message with a signature appended, and its MAC.

    Args:
        wire: the message, without one.
        key: what to sign with.
        request_mac: that of the request which this answers; empty for what nobody asked for.
    """
    number = int.from_bytes(wire[:2], "big")
    blank = TSIG(dns.rdataclass.ANY, dns.rdatatype.TSIG, key.algorithm, 0, FUDGE_S, b"", number, 0, b"")  # type: ignore[no-untyped-call]
    tsig, _ = dns.tsig.sign(wire, key, blank, int(time.time()), request_mac)  # type: ignore[no-untyped-call]
    data = tsig.to_wire()
    count = int.from_bytes(wire[_ARCOUNT : _ARCOUNT + 2], "big") + 1
    owner = key.name.to_wire()
    assert data is not None and owner is not None  # noqa: S101, PT018 - without a file they return octets
    record = owner + _RECORD.pack(dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(data)) + data
    return wire[:_ARCOUNT] + _COUNT.pack(count) + wire[_ARCOUNT + 2 :] + record, tsig.mac


def room(key: dns.tsig.Key) -> int:
    """Return how many octets a signature adds at most."""
    owner, algorithm = (len(name.to_wire() or b"") for name in (key.name, key.algorithm))
    return owner + _RECORD.size + algorithm + 16 + 64
