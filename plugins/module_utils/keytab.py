# SPDX-License-Identifier: GPL-3.0-or-later
"""Keytab files, format 0x0502 of MIT krb5 (its documentation, "Keytab file format"): read, and written again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_VERSION = b"\x05\x02"


class DamagedKeytab(ValueError):
    """The file is no keytab, or is cut short."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. Two entries are equal when they are the same key of the same principal, whenever they were written.

    ``principal`` has no realm; ``record`` is the entry as it stands in the file.
    """

    principal: str
    realm: str
    kvno: int
    enctype: int
    key: bytes = field(repr=False)
    record: bytes = field(repr=False, compare=False)


def parse(content: bytes) -> list[Entry]:
    """Return the keytab's entries.

    Raises:
        DamagedKeytab: nothing of it can be trusted.
    """
    if content[:2] != _VERSION:
        raise DamagedKeytab("it does not begin as a keytab does")
    reader, entries = _Reader(content, 2), []
    while not reader.at_end:
        size = int.from_bytes(reader.take(4), "big", signed=True)
        if size == 0:  # where MIT stops, too
            break
        record = reader.take(abs(size))
        if size > 0:  # less than zero: a hole that a removed entry left
            entries.append(_entry(record))
    return entries


def build(entries: Iterable[Entry]) -> bytes:
    """Return the keytab with these entries."""
    return _VERSION + b"".join(len(entry.record).to_bytes(4, "big") + entry.record for entry in entries)


def same(one: Iterable[Entry], other: Iterable[Entry]) -> bool:
    """Whether both have the same keys, each as often, in any order."""
    return Counter(one) == Counter(other)


def _entry(record: bytes) -> Entry:
    reader = _Reader(record)
    count = reader.number(2)
    realm = reader.text()
    principal = "/".join(reader.text() for _ in range(count))
    reader.take(8)  # the name's type, and the time of writing
    kvno, enctype = reader.number(1), reader.number(2)
    key = reader.take(reader.number(2))
    # A version that does not fit one octet follows at the end; older writers leave it out, or leave zeros.
    wide = reader.number(4) if reader.left >= 4 else 0
    return Entry(principal, realm, wide or kvno, enctype, key, record)


class _Reader:
    def __init__(self, content: bytes, start: int = 0) -> None:
        self._content, self._next = content, start

    @property
    def left(self) -> int:
        return len(self._content) - self._next

    @property
    def at_end(self) -> bool:
        return self.left == 0

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise DamagedKeytab("it is cut short")
        self._next += count
        return self._content[self._next - count : self._next]

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def text(self) -> str:
        return self.take(self.number(2)).decode("utf-8", errors="surrogateescape")
