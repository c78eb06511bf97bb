# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host and the relay say to each other: control messages in TLS, and one UDP datagram. No sockets here.

Both are our own invention (docs/architecture.md, "The relay"). A control message is a length of two octets and a JSON
object; it has exactly the members of its type, each within its bounds, or the connection ends.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = "btmm-relay"  # for ALPN (RFC 7301): another service's client is turned away at once
MAX_MESSAGE = 512
TOKEN_OCTETS = 16
# As an SPI it would be one, but no ESP packet is that short (RFC 4303 section 2: IV and ICV alone take more). IKE in
# UDP 4500 begins with four zero octets, a keepalive is one octet (RFC 3948, sections 2.2 and 2.3).
_MAGIC = b"btmR"

# Seconds from one sign of life of a host to the next. Many firewalls forget a silent TCP connection after 60 s or more;
# RFC 5382 asks NATs for two hours, so one packet a minute is enough nearly everywhere, and a host at rest wakes rarely.
ALIVE_S = 50.0

MEDIATED, RELAYED = "mediated", "relayed"


class RendezvousError(ValueError):
    """Octets that are no message of ours."""


def token_datagram(token: str) -> bytes:
    """Return the datagram by which a host shows the relay where its UDP 4500 is seen from outside.

    `token` is 32 hex digits, as the relay gave it.
    """
    return _MAGIC + bytes.fromhex(token)


def parse_token(datagram: bytes) -> str | None:
    """Return the token in a datagram, None when it is something else."""
    if len(datagram) != len(_MAGIC) + TOKEN_OCTETS or not datagram.startswith(_MAGIC):
        return None
    return datagram[len(_MAGIC) :].hex()


@dataclass(frozen=True, slots=True)
class Connect:
    """Host to relay: bring me together with `peer` (a label), `way` is "mediated" or "relayed"."""

    TYPE: ClassVar[str] = "connect"
    number: int
    peer: str
    way: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Host to relay, after the connection was lost: I use this flow with `peer`, and send to `port`."""

    TYPE: ClassVar[str] = "resume"
    flow: str
    peer: str
    port: int


@dataclass(frozen=True, slots=True)
class Punched:
    """Host to relay: a datagram went to the peer, as `Punch` asked."""

    TYPE: ClassVar[str] = "punched"
    flow: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Host to relay: are you there? It also keeps NATs on the way from forgetting the connection."""

    TYPE: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Pong:
    """Relay to host: yes."""

    TYPE: ClassVar[str] = "pong"


@dataclass(frozen=True, slots=True)
class Open:
    """Relay to host: send the token from UDP 4500 to each of these ports of mine, until you are told `Observed`.

    `peer` is the label of the other host, empty when the relay itself wants to know, as at the beginning.
    """

    TYPE: ClassVar[str] = "open"
    flow: str
    peer: str
    token: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Relay to host: the token came to `port` from this outer address and port."""

    TYPE: ClassVar[str] = "observed"
    port: int
    address: IPv4Address | IPv6Address
    outer_port: int


@dataclass(frozen=True, slots=True)
class Punch:
    """Relay to host: send a keepalive from UDP 4500 to where your peer will call from, then say `Punched`."""

    TYPE: ClassVar[str] = "punch"
    flow: str
    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Relay to host: what `Connect` asked for is there; call the peer at this address and port."""

    TYPE: ClassVar[str] = "ready"
    number: int
    flow: str
    address: IPv4Address | IPv6Address | None
    port: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Relay to host: what `Connect` asked for can't be had, and why."""

    TYPE: ClassVar[str] = "failed"
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Relay to host: this flow is no more."""

    TYPE: ClassVar[str] = "ended"
    flow: str


Message = Connect | Resume | Punched | Ping | Pong | Open | Observed | Punch | Ready | Failed | Ended
FROM_HOST: tuple[type[Message], ...] = (Connect, Resume, Punched, Ping)
FROM_RELAY: tuple[type[Message], ...] = (Pong, Open, Observed, Punch, Ready, Failed, Ended)


def encode(message: Message) -> bytes:
    """Return the message with its length in front.

    Raises:
        RendezvousError: it is longer than any message may be.
    """
    values = {name: _plain(value) for name, value in asdict(message).items()}
    body = json.dumps({"type": message.TYPE, **values}, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE:
        raise RendezvousError(f"a message of {len(body)} octets is too long")
    return len(body).to_bytes(2, "big") + body


def message_length(prefix: bytes) -> int:
    """Return the length that the two octets before a message tell.

    Raises:
        RendezvousError: no message is that long.
    """
    length = int.from_bytes(prefix, "big")
    if not 0 < length <= MAX_MESSAGE:
        raise RendezvousError(f"a message of {length} octets is announced; 1 to {MAX_MESSAGE} are taken")
    return length


def decode(body: bytes, kinds: tuple[type[Message], ...]) -> Message:
    """Return the message of one of `kinds` in `body`.

    Raises:
        RendezvousError: for all else.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RendezvousError("a message is not JSON") from error
    if not isinstance(values, dict):
        raise RendezvousError("a message is not a JSON object")
    name = values.pop("type", None)
    kind = next((each for each in kinds if name == each.TYPE), None)
    if kind is None:
        raise RendezvousError("a message has a type that is not expected here")
    wanted = [field.name for field in fields(kind)]
    if set(values) != set(wanted):
        raise RendezvousError(f"a message '{kind.TYPE}' has other members than {', '.join(wanted) or 'none'}")
    try:
        return kind(**{member: _CHECKS[member](values[member]) for member in wanted})
    except ValueError as error:
        raise RendezvousError(f"a message '{kind.TYPE}' is wrong: {error}") from error


def _plain(value: object) -> object:
    return str(value) if isinstance(value, IPv4Address | IPv6Address) else value


def _text(pattern: str, what: str) -> Callable[[Any], str]:
    expression = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not expression.fullmatch(value):
            raise ValueError(f"no {what}")
        return value

    return check


def _number(lowest: int, highest: int, what: str) -> Callable[[Any], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"no {what}")
        return value

    return check


def _address(value: object) -> IPv4Address | IPv6Address | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("no address")  # noqa: TRY004 - one error for the caller
    address = ip_address(value)
    # "fe80::1%eth0" would name a link of another host.
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("an address with a scope")
    return address


def _ports(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 2:
        raise ValueError("not one or two ports")
    return tuple(_port(each) for each in value)


_port = _number(1, 0xFFFF, "port")
_hex = _text("[0-9a-f]{32}", "32 hex digits")

_CHECKS: dict[str, Callable[[Any], Any]] = {
    "number": _number(0, 0xFFFFFFFF, "number"),
    "peer": _text(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?", "label"),
    "way": _text(f"{MEDIATED}|{RELAYED}", "way"),
    "flow": _hex,
    "token": _hex,
    "port": _port,
    "outer_port": _port,
    "ports": _ports,
    "address": _address,
    "reason": _text(r"[\x20-\x7e]{1,300}", "sentence"),
}
