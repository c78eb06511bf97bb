# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource records of a message, written one after the other: what PUSH (RFC 8765) and LLQ events (RFC 8764) share."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, cast

import dns.rdataclass
import dns.rdatatype

if TYPE_CHECKING:
    from typing import Any

    from dns.name import Name
    from dns.rdata import Rdata

    from .push import Change, Question

_QUESTION = struct.Struct("!HH")
_NUMBER = struct.Struct("!H")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")


class Builder:
    """Resource records of one message under construction, in the wire form that PUSH and LLQ events share."""

    def __init__(self, begin: int) -> None:
        """Begin at this octet of the message, to which the pointers of compressed names refer."""
        self.count = 0
        self._begin = begin
        self._file = io.BytesIO(bytes(begin))
        self._file.seek(begin)
        self._names: dict[Name, int] = {}

    def octets(self) -> bytes:
        """Return the records, without what is before them."""
        return self._file.getvalue()[self._begin :]

    def question(self, question: Question) -> None:
        """Append a question, whose name the records that follow can refer to."""
        question.name.to_wire(self._file, self._names)
        self._file.write(_QUESTION.pack(question.rdtype, question.rdclass))

    def add(self, change: Change, room: int) -> bool:
        """Append a change; False, and nothing is appended, when the message would exceed `room` octets."""
        begin = self._file.tell()
        change.name.to_wire(self._file, self._names)
        rdclass_any = change.rdclass == dns.rdataclass.ANY
        fields = (0 if rdclass_any else change.rdtype, change.rdclass, change.ttl)
        self._file.write(_RECORD.pack(*fields, 0))
        data = self._file.tell()
        if change.rdata is not None:
            self._write(change.rdata)
        end = self._file.tell()
        if end > room:
            self._file.seek(begin)
            self._file.truncate()
            self._names = {name: where for name, where in self._names.items() if where < begin}
            return False
        self._file.seek(data - 2)
        self._file.write(_NUMBER.pack(end - data))
        self._file.seek(end)
        self.count += 1
        return True

    def _write(self, rdata: Rdata) -> None:
        if rdata.rdtype == dns.rdatatype.SRV:
            # Its target may be compressed here (RFC 6762 section 18.14), but not by RFC 2782, which dnspython obeys.
            srv = cast("Any", rdata)
            self._file.write(_SRV.pack(srv.priority, srv.weight, srv.port))
            srv.target.to_wire(self._file, self._names)
        else:
            rdata.to_wire(self._file, self._names)
