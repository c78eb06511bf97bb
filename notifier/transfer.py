# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the answer to a transfer, record by record: whole zone (RFC 5936), steps (RFC 1995), or nothing new."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import dns.rdatatype
from dns.serial import Serial

from .content import Content, Step
from .errors import BadTransferError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.name import Name
    from dns.rdata import Rdata
    from dns.rdtypes.ANY.SOA import SOA

    from .content import Record

_UNSEEN = -1


def is_newer(serial: int, than: int) -> bool:
    """Whether a serial comes after another one (RFC 1982 section 3.2); of two that are 2^31 apart, neither does."""
    return bool(Serial(serial) > Serial(than))


class Transfer:
    """One answer, which may have several messages. Feed it until it is `done`, then look at what it holds.

    `content` is set when the whole zone came, `steps` has the steps; with neither, the zone has not changed.
    """

    def __init__(self, zone: Name, serial: int | None) -> None:
        """Begin.

        Args:
            zone: the zone that was asked for.
            serial: what IXFR was asked with; None for AXFR.
        """
        self.done = False
        self.content: Content | None = None
        self.steps: list[Step] = []
        self.serial = _UNSEEN
        self._zone = zone
        self._asked = serial
        self._count = 0
        self._coming: Content | None = None
        self._before = _UNSEEN
        self._after = _UNSEEN
        self._removed: list[Record] = []
        self._added: list[Record] = []

    def feed(self, records: Iterable[Record]) -> None:
        """Take the records of one message, in their order.

        Raises:
            BadTransferError: they are no transfer of this zone.
        """
        for name, ttl, rdata in records:
            if self.done:
                raise BadTransferError(f"the transfer of {self._zone} goes on after its end")
            self._count += 1
            if rdata.rdtype != dns.rdatatype.SOA:
                self._take((name, ttl, rdata))
            elif name == self._zone:
                self._take_soa((name, ttl, rdata))
            else:
                raise BadTransferError(f"the transfer of {self._zone} has an SOA of {name}")
        # One SOA alone: no newer serial here (RFC 1995 section 2). Of a whole zone it may only be the first message.
        if self._count == 1 and self._asked is not None and not is_newer(self.serial, self._asked):
            self.done = True

    def _take(self, record: Record) -> None:
        if self._count == 1:
            raise BadTransferError(f"the transfer of {self._zone} does not begin with its SOA")
        if self._count == 2:
            self._coming = Content(self.serial, self._added)
        if not record[0].is_subdomain(self._zone):
            raise BadTransferError(f"the transfer of {self._zone} has {record[0]}, which is not in it")
        if self._coming is not None:
            # At once, not at the end: a large zone must not stop the event loop, nor be held twice.
            self._coming.take(record)
        else:
            (self._removed if self._after == _UNSEEN else self._added).append(record)

    def _take_soa(self, record: Record) -> None:
        serial = _serial(record[2])
        if self._count == 1:
            self.serial = serial
            self._added.append(record)
        elif self._coming is not None or (self._count == 2 and self._asked is None):
            self._end_whole(serial)
        elif self._count == 2:
            self._added.clear()
            self._begin_step(record, serial, self._asked)
        elif self._after == _UNSEEN:
            self._after = serial
            self._added.append(record)
        else:
            self.steps.append(Step(self._before, self._after, tuple(self._removed), tuple(self._added)))
            if self._after == self.serial == serial:
                self.done = True
            else:
                self._begin_step(record, serial, self._after)

    def _begin_step(self, record: Record, serial: int, expected: int | None) -> None:
        if serial != expected:
            raise BadTransferError(f"the transfer of {self._zone} has a step from {serial}, not from {expected}")
        self._before, self._after = serial, _UNSEEN
        self._removed, self._added = [record], []

    def _end_whole(self, serial: int) -> None:
        if serial != self.serial:
            raise BadTransferError(f"the transfer of {self._zone} begins with serial {self.serial}, ends with {serial}")
        self.content = self._coming or Content(serial, self._added)
        self.done = True


def _serial(soa: Rdata) -> int:
    return cast("SOA", soa).serial
