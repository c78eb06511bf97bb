# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as plain data, for playbooks: every field of the rdata by its name, with its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dns.name
import dns.rdatatype

from .names import folded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .records import Record


def plain(record: Record) -> dict[str, Any]:
    """Return `{name, type, ttl, rdata, data}`: the rdata as zone file text, and its fields.

    Names are absolute zone file text. Octet strings are read as UTF-8, which DNS-SD has in TXT (RFC 6763 section 6.5).
    """
    rdata = record.rdata
    return {
        "name": record.name.to_text(),
        "type": dns.rdatatype.to_text(rdata.rdtype),
        "ttl": record.ttl,
        "rdata": rdata.to_text(),
        "data": {field: _plain(getattr(rdata, field)) for field in rdata.__slots__ if not field.startswith("_")},
    }


def in_order(records: Iterable[Record]) -> list[Record]:
    """Return records sorted as RFC 4034 section 6.1 sorts names, then by type and text."""
    return sorted(records, key=lambda r: (folded(r.name)[::-1], r.rdata.rdtype, r.rdata.to_text()))


def _plain(value: object) -> object:
    if isinstance(value, dns.name.Name):
        return value.to_text()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, int) else str(value)
