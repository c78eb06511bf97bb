# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that a TSIG key signs (RFC 8945), and what is answered when the signature is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.rcode
import dns.rrset
import dns.tsig
from dns.rcode import Rcode

if TYPE_CHECKING:
    from typing import Any

    from dns.message import Message
    from dns.name import Name

    from .access import Access

MAX_MESSAGE = 65_535  # octets; what EDNS says is for UDP (RFC 6891 section 6.2.3)
_ERRORS = (
    (dns.message.UnknownTSIGKey, Rcode.BADKEY),
    (dns.tsig.BadKey, Rcode.BADKEY),
    (dns.tsig.BadAlgorithm, Rcode.BADKEY),
    (dns.tsig.BadSignature, Rcode.BADSIG),
    (dns.tsig.BadTime, Rcode.BADTIME),
)


def read(wire: bytes, access: Access) -> tuple[Message | None, bytes]:
    """Return a request whose signature is right, if it has one; else None, and what to answer.

    Never raises: what can't be parsed is answered with FORMERR.
    """
    try:
        return dns.message.from_wire(wire, keyring=lambda _, name: access.key(name)), b""
    except (dns.exception.DNSException, ValueError) as err:
        return None, _failed(wire, access, next((code for kind, code in _ERRORS if isinstance(err, kind)), None))


def _failed(wire: bytes, access: Access, error: Rcode | None) -> bytes:
    """Return the answer to a wrong signature (RFC 8945 section 5.3.2): only that to a wrong time is signed itself."""
    try:
        question = dns.message.from_wire(wire, keyring=_unverified)
    except (dns.exception.DNSException, ValueError):
        error = None
    if error is None:
        return wire[:2] + bytes((0x80, Rcode.FORMERR)) + bytes(8)
    answer = dns.message.make_response(question)
    answer.set_rcode(Rcode.NOTAUTH)
    had: Any = question.tsig[0]  # type: ignore[index]
    other = int(time.time()).to_bytes(6, "big") if error == Rcode.BADTIME else b""  # section 5.2.3
    # The time is the client's: so it can verify what is signed.
    told = had.replace(mac=b"", error=error, other=other)
    if error == Rcode.BADTIME:
        key = access.key(question.keyname)  # type: ignore[arg-type]
        wire = answer.to_wire(max_size=MAX_MESSAGE)
        told, _ = dns.tsig.sign(wire, key, told, had.time_signed, had.mac)  # type: ignore[no-untyped-call]
    answer.tsig = dns.rrset.from_rdata(question.keyname, 0, told)  # type: ignore[arg-type]
    return answer.to_wire(max_size=MAX_MESSAGE)


def _unverified(_: Message, __: Name) -> bool:
    """Have dnspython parse a signature and not verify it."""
    return False
