# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of racoon.conf with their lines, and a cursor that reads statements from them.

Stricter than racoon's own lexer, which glues a character that it does not know onto the next word and takes ``aes256``
for ``aes 256``: what the owner reads and what racoon does must be the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+ | \#[^\n]*)
      | (?P<string>"[^"\n]*")
      | (?P<port>\[[0-9A-Za-z]*\])
      | (?P<mark>[{};,])
      | (?P<word>[A-Za-z0-9_.:%/*+\-]+)""",
    re.VERBOSE,
)
_MAX_PORT = 65535


class RacoonError(ValueError):
    """A file that racoon or setkey refuses, or takes and then misunderstands; one sentence with line, cause and fix."""

    def __init__(self, line: int, cause: str, fix: str) -> None:
        self.line = line
        self.cause = cause
        self.fix = fix
        super().__init__(f"line {line}: {cause}: {fix}")


@dataclass(frozen=True, slots=True)
class Token:
    """One word. `kind` is word, string (`text` without the quotes), port (without the brackets), mark, or end."""

    kind: str
    text: str
    line: int

    def __str__(self) -> str:
        return "the end of the file" if self.kind == "end" else repr(self.text)


@dataclass(frozen=True, slots=True)
class Note:
    """What racoon takes, and what is seldom meant."""

    line: int
    text: str


def tokens(text: str) -> list[Token]:
    """Return the words of a file, the last of which is its end.

    Raises:
        RacoonError: a character or string that no statement has.
    """
    found: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or text.startswith("/*", position):
            raise _unreadable(text, position, line)
        kind = match.lastgroup or ""
        if kind != "space":
            content = match.group()
            found.append(Token(kind, content[1:-1] if kind in {"string", "port"} else content, line))
        line += match.group().count("\n")
        position = match.end()
    return [*found, Token("end", "", line)]


def _unreadable(text: str, position: int, line: int) -> RacoonError:
    if text[position] == '"':
        return RacoonError(line, "a string has no end on its line", 'close it with "')
    if text.startswith("/*", position):
        return RacoonError(line, "racoon has no /* comments */", "begin each line of the comment with #")
    return RacoonError(line, f"{text[position]!r} belongs to no statement", "remove it, or put it into quotes")


class Cursor:
    """Reads tokens in turn. `exists` says whether any file fits a path or glob; without it files are not looked for."""

    def __init__(self, text: str, exists: Callable[[str], bool] | None = None) -> None:
        self._tokens = tokens(text)
        self._next = 0
        self._exists = exists
        self.paths: dict[str, str] = {}
        self.notes: list[Note] = []

    @property
    def ahead(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._next]

    def take(self) -> Token:
        """Read a token; the end of the file is read any number of times."""
        token = self.ahead
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def at(self, kind: str, *texts: str) -> bool:
        """Say whether a token of this kind, and with one of these texts, is next."""
        return self.ahead.kind == kind and (not texts or self.ahead.text in texts)

    def took(self, kind: str, *texts: str) -> bool:
        """Read such a token if it is next."""
        fits = self.at(kind, *texts)
        if fits:
            self.take()
        return fits

    def mark(self, text: str, after: str) -> Token:
        """Read a bracket or semicolon."""
        if not self.at("mark", text):
            raise RacoonError(self.ahead.line, f"{after} goes on with {self.ahead}", f"write '{text}' before it")
        return self.take()

    def string(self, what: str) -> Token:
        """Read a quoted string that is not empty."""
        if not self.at("string") or not self.ahead.text:
            raise RacoonError(self.ahead.line, f"{what} is {self.ahead}", 'write it in "quotes"')
        return self.take()

    def word(self, what: str, choices: Collection[str] | None = None) -> Token:
        """Read a bare word, one of `choices`."""
        if not self.at("word") or (choices is not None and self.ahead.text not in choices):
            fix = "write one of " + ", ".join(choices) if choices is not None else "write it as a bare word"
            raise RacoonError(self.ahead.line, f"{what} can't be {self.ahead}", fix)
        return self.take()

    def number(self, what: str, least: int = 0) -> int:
        """Read a whole number."""
        token = self.ahead
        if token.kind != "word" or not re.fullmatch(r"[0-9]{1,10}", token.text) or int(token.text) < least:
            raise RacoonError(token.line, f"{what} can't be {token}", f"write a number from {least}")
        return int(self.take().text)

    def port(self, what: str, least: int = 1) -> int | None:
        """Read ``[port]`` if it is next."""
        if not self.at("port"):
            return None
        token = self.take()
        if not re.fullmatch(r"[0-9]{1,5}", token.text) or not least <= int(token.text) <= _MAX_PORT:
            raise RacoonError(token.line, f"{what} has the port [{token.text}]", f"write [{least}] to [{_MAX_PORT}]")
        return int(token.text)

    def file(self, kind: str, token: Token) -> None:
        """Have a file that a statement names looked for, below its `path` when it is relative."""
        path = token.text
        if not path.startswith("/"):
            if kind not in self.paths:
                raise RacoonError(
                    token.line,
                    f"{path!r} is relative, and nothing says to what",
                    f"write path {kind} before it, or an absolute path",
                )
            path = f"{self.paths[kind]}/{path}"
        if self._exists is not None and not self._exists(path):
            raise RacoonError(token.line, f"there is no file {path}", "make it, or name another")

    def note(self, line: int, text: str) -> None:
        """Remember what is worth a warning."""
        self.notes.append(Note(line, text))
