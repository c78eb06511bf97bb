# SPDX-License-Identifier: GPL-3.0-or-later
"""PCP messages (RFC 6887): MAP and ANNOUNCE, bytes to values and back. No sockets here."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SERVER_PORT = 5351  # RFC 6887 section 19.1; NAT-PMP's, too
ANNOUNCE_PORT = 5350
ANNOUNCE_GROUP = IPv4Address("224.0.0.1")  # section 14.1
VERSION = 2
NONCE_OCTETS = 12
# Section 7.4 recommends these lifetimes of an error to servers; a client that is told none may take them, too.
SHORT_ERROR_S = 30
LONG_ERROR_S = 1800

_ANNOUNCE = 0
_MAP = 1
_REPLY = 0x80
_UDP = 17
_MOST = 1100  # section 7: no message is longer
_REQUEST = struct.Struct("!BBHL16s")
_RESPONSE = struct.Struct("!BBBBLL12x")
_BODY = struct.Struct("!12sB3xHH16s")
_OPTION = struct.Struct("!BxH")


class PcpError(ValueError):
    """A datagram that is not the PCP message that was expected."""


class Result(enum.IntEnum):
    """Result codes (RFC 6887 section 7.4)."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


# Section 7.4 says of each error whether it is likely to pass soon.
_SHORT = {Result.NETWORK_FAILURE, Result.NO_RESOURCES, Result.USER_EX_QUOTA}


class RefusedError(PcpError):
    """The gateway answered with a result code other than success.

    `lifetime_s` is how long the same request would fail again (section 7.4), at most LONG_ERROR_S: a mistaken or
    malicious answer must not keep a host silent for years.
    """

    def __init__(self, result: int, lifetime_s: int) -> None:
        self.result = result
        usual = SHORT_ERROR_S if result in _SHORT else LONG_ERROR_S
        self.lifetime_s = min(lifetime_s, LONG_ERROR_S) if lifetime_s else usual
        known = {r.value: r.name for r in Result}
        super().__init__(f"PCP result {result} ({known.get(result, 'unknown')})")


class UnsupportedVersion(RefusedError):
    """The gateway does not speak version 2; `version` is the highest that it does (0: NAT-PMP, RFC 6887 section 9)."""

    def __init__(self, version: int, lifetime_s: int) -> None:
        super().__init__(Result.UNSUPP_VERSION, lifetime_s)
        self.version = version


@dataclass(frozen=True, slots=True)
class MapReply:
    """A mapping that was granted (RFC 6887 section 11.1); `lifetime_s` is 0 after a deletion."""

    epoch_s: int
    lifetime_s: int
    nonce: bytes
    internal_port: int
    external_port: int
    external: IPv4Address | IPv6Address


def map_request(client: IPv4Address, nonce: bytes, internal_port: int, suggested_port: int, lifetime_s: int) -> bytes:
    """Ask for a UDP mapping for `client` (RFC 6887 section 11.1); lifetime 0 deletes it (section 15).

    Raises:
        PcpError: a value does not fit its field.
    """
    if len(nonce) != NONCE_OCTETS:
        raise PcpError(f"nonce of {len(nonce)} octets, expected {NONCE_OCTETS}")
    for port in (internal_port, suggested_port):
        if not 0 <= port <= 0xFFFF:
            raise PcpError(f"port {port} is outside 0..65535")
    if not 0 <= lifetime_s <= 0xFFFFFFFF:
        raise PcpError(f"lifetime {lifetime_s} s does not fit 32 bits")
    # Section 11.1: no suggestion for the address is the unspecified one of the family that is wanted, ::ffff:0:0.
    body = _BODY.pack(nonce, _UDP, internal_port, suggested_port, _mapped(IPv4Address(0)))
    return _REQUEST.pack(VERSION, _MAP, 0, lifetime_s, _mapped(client)) + body


def parse_map_reply(data: bytes, nonce: bytes, internal_port: int) -> MapReply:
    """Read the answer to a MAP request.

    Args:
        data: one datagram.
        nonce: that of the request.
        internal_port: that of the request.

    Raises:
        PcpError: not such an answer, or one to another request.
        RefusedError: the gateway refused.
    """
    lifetime, epoch = _check(data, _MAP)
    if len(data) < _RESPONSE.size + _BODY.size:
        raise PcpError(f"MAP answer of {len(data)} octets is too short")
    got_nonce, protocol, internal, external, address = _BODY.unpack_from(data, _RESPONSE.size)
    if (got_nonce, protocol, internal) != (nonce, _UDP, internal_port):
        raise PcpError("MAP answer is to another request")
    _check_options(data[_RESPONSE.size + _BODY.size :])
    whole = IPv6Address(address)
    return MapReply(epoch, lifetime, got_nonce, internal, external, whole.ipv4_mapped or whole)


def parse_announcement(data: bytes) -> int:
    """Read an ANNOUNCE that came by itself (RFC 6887 section 14.1), and return the epoch in seconds.

    Raises:
        PcpError: not such a message.
    """
    _, epoch = _check(data, _ANNOUNCE)
    _check_options(data[_RESPONSE.size :])
    return epoch


def _check(data: bytes, opcode: int) -> tuple[int, int]:
    """Check the header (RFC 6887 section 8.3) and return lifetime and epoch."""
    if len(data) < 4:
        raise PcpError(f"answer of {len(data)} octets is too short")
    version, op, _, code = data[:4]
    if op & _REPLY == 0:
        raise PcpError(f"opcode {op} is a request, not an answer")
    if version != VERSION:
        # Section 9 and appendix A: a NAT-PMP gateway answers with version 0, and with a header of its own.
        if code == Result.UNSUPP_VERSION:
            raise UnsupportedVersion(version, _error_lifetime(data))
        raise PcpError(f"answer has version {version}, expected {VERSION}")
    if code == Result.UNSUPP_VERSION:
        raise UnsupportedVersion(version, _error_lifetime(data))
    if op != _REPLY | opcode:
        raise PcpError(f"answer has opcode {op & ~_REPLY}, expected {opcode}")
    if len(data) < _RESPONSE.size or len(data) > _MOST or len(data) % 4:
        raise PcpError(f"answer of {len(data)} octets, expected a multiple of 4 from {_RESPONSE.size} to {_MOST}")
    _, _, _, result, lifetime, epoch = _RESPONSE.unpack_from(data)
    if result:
        raise RefusedError(result, lifetime)
    return lifetime, epoch


def _error_lifetime(data: bytes) -> int:
    return _RESPONSE.unpack_from(data)[4] if len(data) >= _RESPONSE.size else 0


def _check_options(data: bytes) -> None:
    """See that options fill the rest (section 7.3); we asked for none, and none changes what was granted."""
    while data:
        if len(data) < _OPTION.size:
            raise PcpError("an option is cut off")
        _, length = _OPTION.unpack_from(data)
        whole = _OPTION.size + length + -length % 4
        if whole > len(data):
            raise PcpError("an option is longer than the message")
        data = data[whole:]


def _mapped(address: IPv4Address) -> bytes:
    """An IPv4 address in a field for IPv6 (section 5; RFC 4291 section 2.5.5.2)."""
    return bytes(10) + b"\xff\xff" + address.packed
