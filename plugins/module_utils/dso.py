# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS Stateful Operations (RFC 8490): messages of TLVs, octets to values and back. No sockets here."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OPCODE = 6  # RFC 8490 section 10.1
HEADER_SIZE = 12
FOREVER_MS = 0xFFFFFFFF  # a timeout or interval that never ends (RFC 8490 sections 6.4.2, 6.5.2)
DEFAULT_TIMEOUT_MS = 15_000  # both timers, until a Keepalive says otherwise (RFC 8490 section 6.2)
LEAST_INTERVAL_MS = 10_000  # RFC 8490 section 6.5.2
# Messages are padded to a multiple of so many octets (RFC 8467 section 4.1).
CLIENT_BLOCK, SERVER_BLOCK = 128, 468

_HEADER = struct.Struct("!HHHHHH")
_TLV = struct.Struct("!HH")
_KEEPALIVE = struct.Struct("!II")
_DELAY = struct.Struct("!I")
_QR = 0x8000


class Type(enum.IntEnum):
    """DSO-TYPE of the base specification (RFC 8490 section 10.3)."""

    KEEPALIVE = 1
    RETRY_DELAY = 2
    ENCRYPTION_PADDING = 3


class Rcode(enum.IntEnum):
    """What a response, or a Retry Delay, says (RFC 8490 sections 5.4.1 and 7.2.1, RFC 8765 section 6.2.2)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NOTIMP = 4
    REFUSED = 5
    NOTAUTH = 9
    DSOTYPENI = 11


class DsoError(ValueError):
    """Octets that are no proper DSO message."""


class FatalError(DsoError):
    """The other end breaks the protocol: the connection has to be aborted at once (RFC 8490 section 5.3.1)."""


class NotDsoError(DsoError):
    """A DNS message of another opcode, which may well travel on the same connection (RFC 8490 section 5.4.6)."""

    def __init__(self, number: int, opcode: int, response: bool) -> None:
        self.id = number
        self.opcode = opcode
        self.response = response
        super().__init__(f"opcode {opcode} is not DSO")


class RequestError(DsoError):
    """A request that gets an error as its response, and costs nobody the session."""

    def __init__(self, number: int, rcode: Rcode, why: str) -> None:
        self.id = number
        self.rcode = rcode
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Tlv:
    """One TLV; `offset` is where its data begins in the message, which compressed names refer to."""

    type: int
    data: bytes
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A DSO message (RFC 8490 section 5.4); `wire` are the octets that it came as."""

    id: int
    response: bool
    rcode: int
    tlvs: tuple[Tlv, ...]
    wire: bytes = b""

    @property
    def primary(self) -> Tlv:
        """The TLV that says what a request or a unidirectional message is about (RFC 8490 section 5.4.2)."""
        return self.tlvs[0]

    @property
    def unidirectional(self) -> bool:
        """Whether no response is allowed (RFC 8490 section 5.4.3)."""
        return self.id == 0

    @property
    def padded(self) -> bool:
        """Whether it carries padding, and a response to it has to, too (RFC 8490 section 7.3)."""
        return any(tlv.type == Type.ENCRYPTION_PADDING for tlv in self.tlvs)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Session timeouts, in milliseconds (RFC 8490 section 7.1)."""

    inactivity_ms: int
    interval_ms: int


def encode(tlvs: Sequence[Tlv], number: int = 0, response: bool = False, rcode: int = 0, block: int = 0) -> bytes:
    """Return a message; with `block`, padded to a multiple of so many octets.

    Raises:
        DsoError: a value or the message is too large.
    """
    parts = [_HEADER.pack(number, (_QR if response else 0) | OPCODE << 11 | rcode, 0, 0, 0, 0)]
    for tlv in tlvs:
        if len(tlv.data) > 0xFFFF:
            raise DsoError(f"a TLV of {len(tlv.data)} octets does not fit")
        parts += (_TLV.pack(tlv.type, len(tlv.data)), tlv.data)
    wire = b"".join(parts)
    if block:
        pad = -(len(wire) + _TLV.size) % block
        wire += _TLV.pack(Type.ENCRYPTION_PADDING, pad) + bytes(pad)
    if len(wire) > 0xFFFF:
        raise DsoError(f"a message of {len(wire)} octets does not fit")
    return wire


def parse(wire: bytes) -> Message:
    """Read one message, without the two octets of its length.

    Raises:
        NotDsoError: a DNS message of another kind.
        RequestError: a request that is to be answered with an error.
        FatalError: the connection is to be aborted.
    """
    if len(wire) < HEADER_SIZE:
        raise FatalError(f"a message of {len(wire)} octets has no header")
    number, flags, *counts = _HEADER.unpack_from(wire)
    response = bool(flags & _QR)
    if flags >> 11 & 0xF != OPCODE:
        raise NotDsoError(number, flags >> 11 & 0xF, response)
    if response and number == 0:
        raise FatalError("a response has the message ID 0")
    if any(counts):
        if response or number == 0:
            raise FatalError("the header counts records")
        raise RequestError(number, Rcode.FORMERR, "the header counts records")
    tlvs = _tlvs(wire)
    if not tlvs and not response:
        raise FatalError("a request has no TLV")
    return Message(number, response, flags & 0xF, tlvs, wire)


def _tlvs(wire: bytes) -> tuple[Tlv, ...]:
    found = []
    begin = HEADER_SIZE
    while begin < len(wire):
        data = begin + _TLV.size
        if data > len(wire):
            raise FatalError("a TLV is cut off")
        kind, size = _TLV.unpack_from(wire, begin)
        begin = data + size
        if begin > len(wire):
            raise FatalError(f"a TLV of {size} octets exceeds its message")
        found.append(Tlv(kind, wire[data:begin], data))
    return tuple(found)


def keepalive(timeouts: Keepalive) -> Tlv:
    """Return the TLV that asks for timeouts, or dictates them (RFC 8490 section 7.1)."""
    return Tlv(Type.KEEPALIVE, _KEEPALIVE.pack(timeouts.inactivity_ms, timeouts.interval_ms))


def parse_keepalive(tlv: Tlv) -> Keepalive:
    """Read a Keepalive TLV.

    Raises:
        FatalError: it has another size.
    """
    if len(tlv.data) != _KEEPALIVE.size:
        raise FatalError(f"a Keepalive has {len(tlv.data)} octets")
    return Keepalive(*_KEEPALIVE.unpack(tlv.data))


def dictated(message: Message) -> Keepalive:
    """Return the timeouts that a server dictates, by its response or on its own (RFC 8490 section 7.1).

    Raises:
        FatalError: there is not exactly one Keepalive, or its interval is below ten seconds.
    """
    found = [tlv for tlv in message.tlvs if tlv.type == Type.KEEPALIVE]
    if len(found) != 1 or message.primary is not found[0]:
        raise FatalError(f"{len(found)} Keepalive TLVs where the first one alone is due")
    timeouts = parse_keepalive(found[0])
    if timeouts.interval_ms < LEAST_INTERVAL_MS:
        raise FatalError(f"a keepalive interval of {timeouts.interval_ms} ms is too short")
    return timeouts


def retry_delay(milliseconds: int) -> Tlv:
    """Return the TLV that tells how long to stay away (RFC 8490 section 7.2)."""
    return Tlv(Type.RETRY_DELAY, _DELAY.pack(milliseconds))


def parse_retry_delay(message: Message) -> int | None:
    """Return milliseconds to stay away, None when the message does not say.

    Raises:
        FatalError: the TLV has another size.
    """
    for tlv in message.tlvs:
        if tlv.type == Type.RETRY_DELAY:
            if len(tlv.data) != _DELAY.size:
                raise FatalError(f"a Retry Delay has {len(tlv.data)} octets")
            return int(_DELAY.unpack(tlv.data)[0])
    return None
