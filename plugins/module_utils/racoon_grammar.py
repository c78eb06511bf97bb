# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a racoon.conf before it is installed, more strictly than racoon (0.8.2) does when it reads it.

Refused is also what racoon takes and then misunderstands: files that are not there, prefixes that are too long, blocks
that stand twice, ports that are left out. Blocks for dial-in (``mode_cfg``, ``radiuscfg``, ``ldapcfg``, ``privsep``)
are not known here, and so refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .racoon_lexer import Cursor, Note, RacoonError
from .racoon_remote import Remotes
from .racoon_sainfo import Sainfos
from .racoon_values import Syntax, address, block, choice, count, duration, nothing, switch

if TYPE_CHECKING:
    from collections.abc import Callable

_PATHS = ("certificate", "include", "pre_shared_key", "script", "backupsa", "pidfile")
_READ_PATHS = ("certificate", "include", "pre_shared_key")  # those that must be there before racoon starts
_TIMER = Syntax(
    "timer",
    {
        **dict.fromkeys(("interval", "phase1", "phase2", "natt_keepalive"), duration),
        **dict.fromkeys(("counter", "persend"), count),
    },
)


def check(text: str, exists: Callable[[str], bool] | None = None) -> tuple[Note, ...]:
    """Return what is worth a warning in a racoon.conf that racoon will take as it is meant.

    Args:
        text: the file.
        exists: says whether any file fits a path or glob; without it files are not looked for.

    Raises:
        RacoonError: racoon refuses it, or takes it and does something else.
    """
    cursor = Cursor(text, exists)
    remotes, sainfos = Remotes(), Sainfos()
    readers: dict[str, Callable[[Cursor], Any]] = {
        "path": _path,
        "include": _include,
        "log": choice("error", "warning", "notify", "info", "debug", "debug2"),
        "gss_id_enc": choice("utf-16le", "latin1"),
        "complex_bundle": switch,
        "pfkey_buffer": count,
        "listen": _Listen().read,
        "timer": lambda cursor: block(cursor, _TIMER),
        "remote": remotes.read,
        "sainfo": sainfos.read,
    }
    while not cursor.at("end"):
        keyword = cursor.word("a statement", readers)
        readers[keyword.text](cursor)
        if keyword.text not in {"listen", "timer", "remote", "sainfo"}:
            cursor.mark(";", keyword.text)
    return tuple(cursor.notes)


def _path(cursor: Cursor) -> None:
    kind = cursor.word("the kind of a path", _PATHS).text
    token = cursor.string("a path")
    if not token.text.startswith("/"):
        raise RacoonError(token.line, f"{token} is relative to wherever racoon is started", "write an absolute path")
    if kind in _READ_PATHS:
        cursor.file(kind, token)
    cursor.paths[kind] = token.text


def _include(cursor: Cursor) -> None:
    cursor.file("include", cursor.string("an included file"))


class _Listen:
    """All ``listen`` blocks of a file."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], int] = {}
        self._syntax = Syntax(
            "listen",
            {
                "isakmp": lambda cursor: self._socket(cursor, natt=False),
                "isakmp_natt": lambda cursor: self._socket(cursor, natt=True),
                "strict_address": nothing,
                "adminsock": _adminsock,
            },
            repeated=frozenset({"isakmp", "isakmp_natt"}),
        )

    def read(self, cursor: Cursor) -> None:
        """Read what follows the word ``listen``."""
        block(cursor, self._syntax)

    def _socket(self, cursor: Cursor, *, natt: bool) -> None:
        token = cursor.word("an address to listen at")
        where = address(token)
        port = cursor.port(token.text)
        if natt and port is None:
            raise RacoonError(
                token.line, f"racoon would listen for isakmp_natt at {where} on port 500", "write [4500] after it"
            )
        if natt and where.version == 6:
            raise RacoonError(
                token.line, "racoon takes ESP in UDP on IPv4 sockets only", "write isakmp, and nat_traversal off"
            )
        key = (str(where), port or 500)
        if key in self._lines:
            raise RacoonError(token.line, f"{where} [{key[1]}] is already on line {self._lines[key]}", "remove one")
        self._lines[key] = token.line


def _adminsock(cursor: Cursor) -> None:
    if cursor.took("word", "disabled"):
        return
    cursor.string("the admin socket")
    if cursor.at("string"):
        cursor.string("the owner")
        cursor.string("the group")
        cursor.number("the mode")
