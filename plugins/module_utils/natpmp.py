# SPDX-License-Identifier: GPL-3.0-or-later
"""NAT-PMP messages (RFC 6886 section 3): bytes to values and back. No sockets here."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

SERVER_PORT = 5351  # RFC 6886 section 3.1
RECOMMENDED_LIFETIME_S = 7200  # RFC 6886 section 3.3
FIRST_RETRY_S = 0.25  # RFC 6886 section 3.1: 250 ms, doubling
VERSION = 0

ADDRESS_REPLY = b"\x00\x80"  # how an external address reply starts: alone, and as an announcement (section 3.2.1)

_OP_ADDRESS = 0
_OP_MAP_UDP = 1
_REPLY = 128
_HEADER = struct.Struct("!BBHL")
_MAP_REQUEST = struct.Struct("!BBHHHL")
_MAP_BODY = struct.Struct("!HHL")


class NatPmpError(ValueError):
    """A reply that is not a NAT-PMP reply to what was asked."""


class Result(enum.IntEnum):
    """Result codes (RFC 6886 section 3.5)."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


class RefusedError(NatPmpError):
    """The gateway answered with a result code other than success."""

    def __init__(self, result: int) -> None:
        self.result = result
        known = {r.value: r.name.lower().replace("_", " ") for r in Result}
        super().__init__(f"result {result} ({known.get(result, 'unknown')})")


@dataclass(frozen=True, slots=True)
class AddressReply:
    """External address reply (RFC 6886 section 3.2); epoch in seconds since the gateway's table was made."""

    epoch_s: int
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class MapReply:
    """Mapping reply (RFC 6886 section 3.3); `lifetime_s` is what was granted, 0 after a deletion."""

    epoch_s: int
    internal_port: int
    external_port: int
    lifetime_s: int


def address_request() -> bytes:
    """Ask for the external address (RFC 6886 section 3.2)."""
    return bytes((VERSION, _OP_ADDRESS))


def map_request(internal_port: int, suggested_port: int, lifetime_s: int) -> bytes:
    """Ask for a UDP mapping (RFC 6886 section 3.3); lifetime 0 with suggested port 0 deletes it (section 3.4)."""
    for port in (internal_port, suggested_port):
        if not 0 <= port <= 0xFFFF:
            raise NatPmpError(f"port {port} is outside 0..65535")
    if not 0 <= lifetime_s <= 0xFFFFFFFF:
        raise NatPmpError(f"lifetime {lifetime_s} s does not fit 32 bits")
    return _MAP_REQUEST.pack(VERSION, _OP_MAP_UDP, 0, internal_port, suggested_port, lifetime_s)


def parse_address_reply(data: bytes) -> AddressReply:
    """Read an external address reply.

    Raises:
        NatPmpError: not such a reply.
        RefusedError: the gateway refused; a router without an address on its WAN side says 3.
    """
    epoch = _check(data, _OP_ADDRESS, body=4)
    return AddressReply(epoch, IPv4Address(data[8:12]))


def parse_map_reply(data: bytes, internal_port: int) -> MapReply:
    """Read the reply to a UDP mapping request for `internal_port`.

    Raises:
        NatPmpError: not such a reply, or one for another port.
        RefusedError: the gateway refused.
    """
    epoch = _check(data, _OP_MAP_UDP, body=_MAP_BODY.size)
    internal, external, lifetime = _MAP_BODY.unpack_from(data, _HEADER.size)
    if internal != internal_port:
        raise NatPmpError(f"reply is for port {internal}, asked for {internal_port}")
    return MapReply(epoch, internal, external, lifetime)


def _check(data: bytes, opcode: int, body: int) -> int:
    """Check the header and return the epoch.

    An error reply may stop after the header, and one for an unsupported version after four octets with any opcode
    (RFC 6886 section 3.5), so the result code is judged before the length.
    """
    if len(data) < 4:
        raise NatPmpError(f"reply of {len(data)} octets is too short")
    version, op, result = struct.unpack_from("!BBH", data)
    if op < _REPLY:
        raise NatPmpError(f"opcode {op} is a request, not a reply")
    if result == Result.UNSUPPORTED_VERSION:
        raise RefusedError(result)
    if version != VERSION:
        raise NatPmpError(f"reply has version {version}, expected {VERSION}")
    if op != _REPLY + opcode:
        raise NatPmpError(f"reply has opcode {op}, expected {_REPLY + opcode}")
    if result:
        raise RefusedError(result)
    if len(data) < _HEADER.size + body:
        raise NatPmpError(f"reply of {len(data)} octets is too short, expected {_HEADER.size + body}")
    epoch: int = _HEADER.unpack_from(data)[3]
    return epoch
