# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS Push Notifications (RFC 8765): the contents of its four DSO messages. No sockets here."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire

from .dso import HEADER_SIZE, FatalError, Tlv, encode
from .record_builder import Builder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.name import Name
    from dns.rdata import Rdata

    from .dso import Message

MAX_PUSH = 16_382  # octets of a PUSH message: with its length it fits one TLS record (RFC 8765 section 6.3.1)
ANY = 255
REMOVE = 0xFFFFFFFF
REMOVE_ALL = 0xFFFFFFFE
MAX_TTL = 0x7FFFFFFF

_QUESTION = struct.Struct("!HH")
_NUMBER = struct.Struct("!H")
_BEGIN = HEADER_SIZE + 4  # octets before the first change of a PUSH: names are compressed against all of the message


class Type(enum.IntEnum):
    """DSO-TYPE of RFC 8765 section 8."""

    SUBSCRIBE = 0x40
    PUSH = 0x41
    UNSUBSCRIBE = 0x42
    RECONFIRM = 0x43


class Question(NamedTuple):
    """What a subscription is for; type and class may be ANY, which here means all (RFC 8765 section 6.2.1)."""

    name: Name
    rdtype: int
    rdclass: int = dns.rdataclass.IN


@dataclass(frozen=True, slots=True)
class Change:
    """One change notification (RFC 8765 section 6.3.1).

    With `ttl` up to 2^31-1 the record is added, or has this TTL now; with REMOVE it is gone. REMOVE_ALL has no `rdata`:
    all records of the type (ANY: of all types) and class are gone, and with class ANY those of all classes.
    """

    name: Name
    rdtype: int
    ttl: int
    rdata: Rdata | None = None
    rdclass: int = dns.rdataclass.IN

    @property
    def removes_all(self) -> bool:
        """Whether this is a collective removal."""
        return self.ttl == REMOVE_ALL

    def concerns(self, question: Question) -> bool:
        """Whether a subscriber to `question` is to hear of it (RFC 8765 section 6.3.1)."""
        if self.name != question.name:
            return False
        if ANY not in (self.rdclass, question.rdclass) and self.rdclass != question.rdclass:
            return False
        if question.rdtype in (ANY, self.rdtype) or self.rdtype == dns.rdatatype.CNAME:
            return True
        return self.removes_all and ANY in (self.rdtype, self.rdclass)


def subscribe(question: Question) -> Tlv:
    """Return the TLV of a SUBSCRIBE request (RFC 8765 section 6.2.1)."""
    return Tlv(Type.SUBSCRIBE, _name(question.name) + _QUESTION.pack(question.rdtype, question.rdclass))


def parse_subscribe(tlv: Tlv) -> Question:
    """Read the question of a SUBSCRIBE.

    Raises:
        FatalError: it is no question, or more than one.
    """
    with Reader(tlv.data) as parser:
        name = parser.get_name()  # which takes no compressed one: the TLV stands alone
        question = Question(name, *parser.get_struct("!HH"))
        _end(parser)
    return question


def unsubscribe(number: int) -> Tlv:
    """Return the TLV that ends the subscription with this message ID (RFC 8765 section 6.4.1)."""
    return Tlv(Type.UNSUBSCRIBE, _NUMBER.pack(number))


def parse_unsubscribe(tlv: Tlv) -> int:
    """Return the message ID of the SUBSCRIBE that ends.

    Raises:
        FatalError: the TLV has another size.
    """
    if len(tlv.data) != _NUMBER.size:
        raise FatalError(f"an UNSUBSCRIBE has {len(tlv.data)} octets")
    return int(_NUMBER.unpack(tlv.data)[0])


def reconfirm(name: Name, rdata: Rdata) -> Tlv:
    """Return the TLV that asks whether a record is still true (RFC 8765 section 6.5.1)."""
    return Tlv(Type.RECONFIRM, _name(name) + _QUESTION.pack(rdata.rdtype, rdata.rdclass) + _wire(rdata))


def parse_reconfirm(tlv: Tlv) -> tuple[Name, Rdata]:
    """Read the record that is in doubt.

    Raises:
        FatalError: it is no record, or its type or class is ANY.
    """
    with Reader(tlv.data) as parser:
        name = parser.get_name()  # which takes no compressed one: the TLV stands alone
        rdtype, rdclass = parser.get_struct("!HH")
        if ANY in (rdtype, rdclass):
            raise FatalError("a RECONFIRM for ANY")
        rdata = dns.rdata.from_wire_parser(rdclass, rdtype, parser)
        _end(parser)
    return name, rdata


def encode_push(changes: Sequence[Change], block: int = 0) -> list[bytes]:
    """Return the PUSH messages for some changes, in their order, each as full as it can be (RFC 8765 section 6.3.1).

    With `block` they are padded to a multiple of so many octets. A record that is too large for any PUSH is left out:
    there is no way to tell of it, and others want to hear of theirs.
    """
    messages = []
    room = MAX_PUSH - (4 if block else 0)
    builder = Builder(_BEGIN)
    for change in changes:
        if not builder.add(change, room):
            if builder.count:
                messages.append(_message(builder, block))
            builder = Builder(_BEGIN)
            builder.add(change, room)
    if builder.count:
        messages.append(_message(builder, block))
    return messages


def _message(builder: Builder, block: int) -> bytes:
    """Return the whole PUSH; padding never makes it too large."""
    tlvs = [Tlv(Type.PUSH, builder.octets())]
    padded = encode(tlvs, block=block)
    if len(padded) <= MAX_PUSH:
        return padded
    return encode(tlvs, block=MAX_PUSH)


def parse_push(message: Message) -> list[Change]:
    """Read the changes of a PUSH; those with a TTL of no known meaning are left out (RFC 8765 section 6.3.1).

    Raises:
        FatalError: the message breaks the protocol.
    """
    if len(message.wire) > MAX_PUSH:
        raise FatalError(f"a PUSH of {len(message.wire)} octets is larger than {MAX_PUSH}")
    tlv = message.primary
    changes = []
    with Reader(message.wire) as parser:
        parser.seek(tlv.offset)
        # Names may refer to octets before the TLV, but none may reach beyond it.
        with parser.restrict_to(len(tlv.data)):
            if not tlv.data:
                raise FatalError("a PUSH without any change")
            while parser.remaining():
                change = parse_change(parser)
                if change is not None:
                    changes.append(change)
    return changes


def parse_change(parser: dns.wire.Parser) -> Change | None:
    """Read one record that says what has changed; None when its TTL has no known meaning.

    Raises:
        FatalError: the record is of type or class ANY, or removes all and has data.
        dns.exception.DNSException: it is no record (ValueError and its kin, too).
    """
    name = dns.name.from_wire_parser(parser)
    rdtype, rdclass, ttl, size = parser.get_struct("!HHIH")
    if ttl == REMOVE_ALL:
        if size:
            raise FatalError("a collective removal has rdata")
        # With class ANY the type has no meaning, and is not looked at.
        return Change(name, ANY if rdclass == ANY else rdtype, ttl, rdclass=rdclass)
    if ttl > MAX_TTL and ttl != REMOVE:
        parser.get_bytes(size)
        return None
    if ANY in (rdtype, rdclass):
        raise FatalError("a single record of ANY type or class")
    with parser.restrict_to(size):
        rdata = dns.rdata.from_wire_parser(rdclass, rdtype, parser)
    return Change(name, rdtype, ttl, rdata, rdclass)


class Reader:
    """A parser whose errors end the session: RFC 8490 section 5.5.3 asks for that."""

    def __init__(self, wire: bytes) -> None:
        self._parser = dns.wire.Parser(wire)

    def __enter__(self) -> dns.wire.Parser:
        return self._parser

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FatalError):
            return
        # dnspython's rdata classes raise ValueError and its kin for values that no such record can have.
        if isinstance(error, (dns.exception.DNSException, ValueError, struct.error)):
            raise FatalError(f"what should be a record is none: {error or type(error).__name__}") from error


def _end(parser: dns.wire.Parser) -> None:
    if parser.remaining():
        raise FatalError(f"{parser.remaining()} octets follow where none may")


def _name(name: Name) -> bytes:
    wire = name.to_wire()
    assert wire is not None  # noqa: S101 - without a file it returns octets
    return wire


def _wire(rdata: Rdata) -> bytes:
    wire = rdata.to_wire()
    assert wire is not None  # noqa: S101 - without a file it returns octets
    return wire
