# SPDX-License-Identifier: GPL-3.0-or-later
"""What values racoon.conf's statements take, and how a block of statements is read."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from .racoon_lexer import RacoonError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .racoon_lexer import Cursor, Token

    Reader = Callable[[Cursor], Any]

SWITCH = ("on", "off")
TIME_UNITS = (
    "sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes", "hour", "hours",
)  # fmt: skip
# Bits of the keys that a cipher takes; an empty range where its only length must not be written.
_CIPHERS: dict[str, range] = {
    "aes": range(128, 257, 64),
    "camellia": range(128, 257, 64),
    "blowfish": range(40, 449),
    "3des": range(0),
    "cast128": range(0),
    "des": range(0),
}
DH_GROUPS = {
    "1": 768, "2": 1024, "5": 1536, "14": 2048, "15": 3072, "16": 4096, "17": 6144, "18": 8192,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement that was read, and what its reader made of it."""

    keyword: Token
    value: Any


@dataclass(frozen=True, slots=True)
class Syntax:
    """What stands in a block: a reader for each statement; which may be repeated; which are blocks themselves."""

    name: str
    readers: Mapping[str, Reader]
    repeated: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()


def block(cursor: Cursor, syntax: Syntax) -> dict[str, list[Entry]]:
    """Read ``{ statement; ... }``.

    Raises:
        RacoonError: an unknown, wrong, or needlessly repeated statement.
    """
    start = cursor.mark("{", syntax.name)
    found: dict[str, list[Entry]] = {}
    while not cursor.took("mark", "}"):
        if cursor.at("end"):
            raise RacoonError(start.line, f"{syntax.name} has no end", "close it with }")
        keyword = cursor.word(f"a statement of {syntax.name}", syntax.readers)
        earlier = found.setdefault(keyword.text, [])
        if earlier and keyword.text not in syntax.repeated:
            raise RacoonError(
                keyword.line,
                f"{keyword.text} is already on line {earlier[0].keyword.line}, and racoon would take the last one",
                "remove one of them",
            )
        earlier.append(Entry(keyword, syntax.readers[keyword.text](cursor)))
        if keyword.text not in syntax.blocks:
            cursor.mark(";", keyword.text)
    return found


def nothing(_: Cursor) -> None:
    """Read no value: the statement is its keyword."""


def switch(cursor: Cursor) -> str:
    """Read on or off; racoon knows no yes and no."""
    return cursor.word("a switch", SWITCH).text


def choice(*texts: str) -> Reader:
    """Return a reader of one of these words."""
    return lambda cursor: cursor.word("the value", texts).text


def count(cursor: Cursor) -> int:
    """Read a number without a unit."""
    number = cursor.number("the value")
    if cursor.at("word", *TIME_UNITS):
        raise RacoonError(cursor.ahead.line, f"no unit is taken here, and {cursor.ahead} is one", "remove it")
    return number


def duration(cursor: Cursor) -> None:
    """Read a time: it always has a unit, at most hours."""
    cursor.number("a time")
    cursor.word("the unit of a time", TIME_UNITS)


def lifetime(cursor: Cursor) -> None:
    """Read ``time N unit``; lifetimes in bytes are refused by racoon, too."""
    cursor.word("lifetime", ("time",))
    cursor.number("a lifetime", least=1)
    cursor.word("the unit of a lifetime", TIME_UNITS)


def quoted(cursor: Cursor) -> Token:
    """Read a string."""
    return cursor.string("the value")


def address(token: Token) -> IPv4Address | IPv6Address:
    """Return the address that a word is; a link-local one may name its link (``%eth0``)."""
    try:
        return ip_address(token.text)
    except ValueError:
        raise RacoonError(token.line, f"{token} is no address", "write a numeric IPv4 or IPv6 address") from None


def endpoint(cursor: Cursor) -> tuple[IPv4Address | IPv6Address, int]:
    """Read ``ADDRESS [port]``, whose port is 500 when it is left out."""
    found = address(cursor.word("an address"))
    port = cursor.port(str(found), least=0)
    return found, 500 if port is None else port


def cipher(cursor: Cursor) -> str:
    """Read a cipher with the length of its key in bits, where it takes one."""
    token = cursor.ahead
    stem = token.text.rstrip("0123456789")
    if token.text not in _CIPHERS and stem in _CIPHERS:
        raise RacoonError(
            token.line, f"racoon would read {token} as two words", f"write {stem} {token.text[len(stem) :]}"
        )
    name = cursor.word("the cipher", _CIPHERS).text
    if not (cursor.at("word") and cursor.ahead.text.isdecimal()):
        return name
    bits = cursor.number("the length of a key")
    if bits not in _CIPHERS[name]:
        raise RacoonError(token.line, f"{name} takes no key of {bits} bits", "write a length that it has, or none")
    return f"{name} {bits}"


def dh_group(cursor: Cursor) -> int:
    """Read a Diffie-Hellman group by number or name; returns its bits."""
    names = {**DH_GROUPS, **{f"modp{bits}": bits for bits in DH_GROUPS.values()}}
    return names[cursor.word("the group", names).text]
