# SPDX-License-Identifier: GPL-3.0-or-later
"""``sainfo`` of racoon.conf: for which inner addresses phase 2 is done, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .racoon_lexer import RacoonError, Token
from .racoon_remote import identity
from .racoon_values import Syntax, address, block, cipher, count, dh_group, lifetime

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    from .racoon_lexer import Cursor

_ADDRESSES = ("address", "subnet", "address-range")
_NAMES = ("fqdn", "user_fqdn", "keyid")
_PROTOCOLS = ("any", "tcp", "udp", "icmp", "icmp6")
_MAX_PROTOCOL = 255
_HMACS = ("hmac_md5", "hmac_sha1", "hmac_sha256", "hmac_sha384", "hmac_sha512")


def _listed(read: Callable[[Cursor], str]) -> Callable[[Cursor], list[str]]:
    def read_all(cursor: Cursor) -> list[str]:
        found = [read(cursor)]
        while cursor.took("mark", ","):
            found.append(read(cursor))
        return found

    return read_all


_BODY = Syntax(
    "sainfo",
    {
        "pfs_group": dh_group,
        "lifetime": lifetime,
        "remoteid": count,
        "encryption_algorithm": _listed(cipher),
        "authentication_algorithm": _listed(lambda cursor: cursor.word("authentication_algorithm", _HMACS).text),
        "compression_algorithm": _listed(lambda cursor: cursor.word("compression_algorithm", ("deflate",)).text),
    },
)


class Sainfos:
    """The ``sainfo`` blocks of a file, each of which must differ from those before it."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, ...], int] = {}

    def read(self, cursor: Cursor) -> None:
        """Read what follows the word ``sainfo``.

        Raises:
            RacoonError: racoon refuses it, or takes it and does something else.
        """
        start = cursor.ahead
        ends = _ends(cursor)
        if cursor.took("word", "from"):
            peer = " ".join(str(part) for part in identity(cursor))
        elif cursor.took("word", "group"):
            peer = f"group {cursor.string('a group').text}"
        else:
            peer = ""
        found = block(cursor, _BODY)
        for name in ("encryption_algorithm", "authentication_algorithm", "compression_algorithm"):
            if name not in found:
                raise RacoonError(start.line, f"this sainfo has no {name}", "add it, even if it is not used")
        number = found["remoteid"][0].value if "remoteid" in found else 0
        key = (*ends, peer, str(number))
        if key in self._lines:
            raise RacoonError(
                start.line,
                f"the same sainfo is already on line {self._lines[key]}, and racoon would use only one of them",
                "make them one",
            )
        self._lines[key] = start.line
        for entry in found["authentication_algorithm"]:
            if "hmac_sha256" in entry.value:
                cursor.note(
                    entry.keyword.line,
                    "hmac_sha256 is cut to 96 bits by PF_KEY, and other IPsec programs then drop every packet: "
                    "write hmac_sha512",
                )


def _ends(cursor: Cursor) -> tuple[str, ...]:
    """Read the two ends, the first of which stands for both when it is ``anonymous`` alone."""
    if cursor.took("word", "anonymous"):
        if cursor.at("word", "anonymous"):
            raise RacoonError(cursor.ahead.line, "anonymous stands for both ends", "write it once")
        if cursor.took("word", "clientaddr"):
            return "anonymous", "clientaddr"
        if cursor.at("mark") or cursor.at("word", "from", "group"):
            return ("anonymous",)
        return "anonymous", _end(cursor)
    local = _end(cursor)
    if cursor.at("word", "anonymous", "clientaddr"):
        return local, cursor.take().text
    return local, _end(cursor)


def _end(cursor: Cursor) -> str:
    kind = cursor.word("an end of sainfo", (*_ADDRESSES, *_NAMES)).text
    if kind in _NAMES:
        return f"{kind} {cursor.string(f'an end of the kind {kind}').text}"
    given = cursor.word("an address")
    text, slash, prefix = given.text.partition("/")
    first, hyphen, last = text.partition("-")
    if not hyphen and cursor.at("word") and cursor.ahead.text.startswith("-"):
        hyphen, last = "-", cursor.take().text[1:]
    if bool(hyphen) != (kind == "address-range"):
        raise RacoonError(given.line, f"{kind} does not go with {given}", "write address-range FIRST-LAST for a range")
    found = address(Token("word", first, given.line))
    if hyphen and address(Token("word", last, given.line)).version != found.version:
        raise RacoonError(given.line, "the two ends of the range are of different families", "take one family")
    length = _prefix(given, found, prefix) if slash else found.max_prefixlen
    port = _port(cursor)
    protocol = _protocol(cursor, given, found)
    if port != "any" and protocol in {"icmp", "icmp6"}:
        raise RacoonError(given.line, f"{protocol} has no ports", "write [any], or nothing")
    return f"{kind} {found}-{last}/{length}[{port}] {protocol}"


def _prefix(given: Token, found: IPv4Address | IPv6Address, text: str) -> int:
    if not text.isdecimal() or len(text) > 3 or int(text) > found.max_prefixlen:
        raise RacoonError(
            given.line,
            f"{given} has a prefix that no such address has, and racoon takes it",
            f"write a length up to {found.max_prefixlen}",
        )
    return int(text)


def _port(cursor: Cursor) -> str:
    if cursor.took("port", "any"):
        return "any"
    port = cursor.port("an end of sainfo", least=0)
    return "any" if port in {None, 0} else str(port)


def _protocol(cursor: Cursor, given: Token, found: IPv4Address | IPv6Address) -> str:
    token = cursor.ahead
    if token.kind == "word" and token.text.isdecimal():
        if cursor.number("a protocol") > _MAX_PROTOCOL:
            raise RacoonError(token.line, f"there is no protocol {token}", f"write 0 to {_MAX_PROTOCOL}")
        return token.text
    protocol = cursor.word(f"the protocol after {given}", _PROTOCOLS).text
    if protocol == ("icmp6" if found.version == 4 else "icmp"):
        raise RacoonError(token.line, f"{protocol} does not go with {found}", "take the other ICMP")
    return protocol
