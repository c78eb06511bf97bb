# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS Long-Lived Queries (RFC 8764): the EDNS(0) option, and whole messages. No sockets here.

dnspython reads a TTL of -1 as 0, and knows no LLQ option: so messages are taken apart here, and only their signatures
are left to it.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import dns.edns
import dns.name
import dns.rdatatype
import dns.wire

from .dso import FatalError
from .push import Question, Reader, parse_change
from .record_builder import Builder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .push import Change

CODE = 1  # of the option (RFC 8764 section 3.2)
VERSION = 1
LEAST_LEASE_S, MOST_LEASE_S = 900, 7200  # RFC 6281 section 5.3
# How long to wait after the first, the second and the last try of a message (RFC 8764 sections 5.1 and 6.3).
WAITS_S = (2.0, 4.0, 8.0)
LEAST_PAYLOAD = 512  # octets that every client takes (RFC 6891 section 6.2.3)
QR, TC, AA = 0x8000, 0x0200, 0x0400

_HEADER = struct.Struct("!HHHHHH")
_OPTION = struct.Struct("!HHHQI")
_OPTION_HEAD = struct.Struct("!HH")
_OPT = struct.Struct("!BHHIH")
OPTION_SIZE = _OPTION_HEAD.size + _OPTION.size


class Opcode(enum.IntEnum):
    """LLQ-OPCODE."""

    SETUP = 1
    REFRESH = 2
    EVENT = 3


class Error(enum.IntEnum):
    """LLQ-ERROR (RFC 8764 section 3.1)."""

    NO_ERROR = 0
    SERV_FULL = 1
    STATIC = 2
    FORMAT_ERR = 3
    NO_SUCH_LLQ = 4
    BAD_VERS = 5
    UNKNOWN_ERR = 6


class LlqError(Exception):
    """What came is no message or option of this protocol."""


@dataclass(frozen=True, slots=True)
class Llq:
    """The data of one option.

    `lease` is in seconds: asked for, granted, or with SERV_FULL when to come again; 0 in a refresh cancels.
    """

    opcode: int
    id: int = 0
    lease: int = 0
    error: int = Error.NO_ERROR
    version: int = VERSION

    def to_wire(self) -> bytes:
        """Return the 18 octets after the option's code and length."""
        return _OPTION.pack(self.version, self.opcode, self.error, self.id, self.lease)

    def to_option(self) -> dns.edns.Option:
        """Return the option as dnspython has such that it does not know."""
        return dns.edns.GenericOption(dns.edns.OptionType.make(CODE), self.to_wire())


def parse_option(data: bytes) -> Llq:
    """Read the data of an option.

    Raises:
        LlqError: it has another size.
    """
    if len(data) != _OPTION.size:
        raise LlqError(f"an LLQ option of {len(data)} octets")
    version, opcode, error, number, lease = _OPTION.unpack(data)
    return Llq(opcode, number, lease, error, version)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `llqs` has None for an option of a wrong size; `payload` (octets) is what EDNS says, 0 without.

    `changes` are the answers; those with the TTL -1 (`push.REMOVE`) are gone.
    """

    id: int
    response: bool = False
    truncated: bool = False
    opcode: int = 0
    rcode: int = 0
    questions: tuple[Question, ...] = ()
    changes: tuple[Change, ...] = ()
    llqs: tuple[Llq | None, ...] = ()
    payload: int = 0
    signed: bool = False


def parse(wire: bytes) -> Message:
    """Take a message apart; its signature, if any, is not looked at.

    Raises:
        LlqError: it is malformed.
    """
    try:
        with Reader(wire) as parser:
            return _parse(parser)
    except FatalError as err:
        raise LlqError(str(err)) from err


def _parse(parser: dns.wire.Parser) -> Message:
    number, flags, questions, answers, authorities, additionals = parser.get_struct("!HHHHHH")
    asked = []
    for _ in range(questions):
        name = dns.name.from_wire_parser(parser)
        asked.append(Question(name, *parser.get_struct("!HH")))
    changes = [change for change in (parse_change(parser) for _ in range(answers)) if change is not None]
    llqs: list[Llq | None] = []
    payload, signed = 0, False
    for place in range(authorities + additionals):
        dns.name.from_wire_parser(parser)
        rdtype, rdclass, _, size = parser.get_struct("!HHIH")
        if place >= authorities and rdtype == dns.rdatatype.OPT:
            if payload:
                raise FatalError("two OPT records")
            payload = max(rdclass, LEAST_PAYLOAD)
            with parser.restrict_to(size):
                llqs = _parse_options(parser)
        else:
            signed = signed or rdtype == dns.rdatatype.TSIG
            parser.get_bytes(size)
    if parser.remaining():
        raise FatalError("octets after the message")
    return Message(
        number,
        bool(flags & QR),
        bool(flags & TC),
        flags >> 11 & 15,
        flags & 15,
        tuple(asked),
        tuple(changes),
        tuple(llqs),
        payload,
        signed,
    )


def _parse_options(parser: dns.wire.Parser) -> list[Llq | None]:
    found: list[Llq | None] = []
    while parser.remaining():
        code, size = parser.get_struct("!HH")
        data = parser.get_bytes(size)
        if code == CODE:
            try:
                found.append(parse_option(data))
            except LlqError:
                found.append(None)
    return found


def encode(
    number: int,
    questions: Sequence[Question],
    llqs: Sequence[Llq],
    changes: Sequence[Change] = (),
    *,
    room: int = 0xFFFF,
    payload: int = 1232,
    response: bool = False,
    rcode: int = 0,
) -> tuple[bytes, int]:
    """Return a message, and how many of the changes are in it: as many as fit into `room` octets.

    The OPT record is the last one, and the last LLQ option the last of it. A response that leaves answers out has TC.
    """
    builder = Builder(_HEADER.size)
    for question in questions:
        builder.question(question)
    options = b"".join(_OPTION_HEAD.pack(CODE, _OPTION.size) + llq.to_wire() for llq in llqs)
    opt = _OPT.pack(0, dns.rdatatype.OPT, payload, 0, len(options)) + options
    for change in changes:
        if not builder.add(change, room - len(opt)):
            break
    flags = (QR | AA if response else 0) | (TC if builder.count < len(changes) else 0) | rcode
    header = _HEADER.pack(number, flags, len(questions), builder.count, 0, 1)
    return header + builder.octets() + opt, builder.count


def encode_events(question: Question, changes: Sequence[Change], room: int) -> list[bytes]:
    """Return the events that tell of some changes, each within `room` octets, for any LLQ: see `addressed`.

    A record too large for any event is left out: there is no way to tell of it, and others want to hear of theirs.
    """
    events = []
    left = list(changes)
    while left:
        wire, count = encode(0, [question], [Llq(Opcode.EVENT)], left, room=room, response=True)
        if count:
            # What is left out comes in another event, and not by TCP.
            flags = int.from_bytes(wire[2:4], "big") & ~TC
            events.append(wire[:2] + flags.to_bytes(2, "big") + wire[4:])
        left = left[max(count, 1) :]
    return events


def addressed(event: bytes, number: int, llq_id: int) -> bytes:
    """Return one of `encode_events` with this message ID and LLQ-ID; encoding is shared, these are not."""
    return number.to_bytes(2, "big") + event[2:-12] + llq_id.to_bytes(8, "big") + event[-4:]


def acknowledgment(event: Message, llq: Llq) -> bytes:
    """Return what a client says to an event (RFC 8764 section 6.2): the same message ID and option."""
    return encode(event.id, (), [llq], response=True)[0]


def refused(llq: Llq | None, error: Error, lease: int = 0) -> Llq:
    """Return the option that refuses; of one that could not be read nothing is repeated."""
    if llq is None:
        return Llq(0, error=error, lease=lease)
    return replace(llq, error=error, lease=lease, version=VERSION)
