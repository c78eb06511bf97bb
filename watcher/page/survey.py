# SPDX-License-Identifier: GPL-3.0-or-later
"""What a zone says of its hosts: asked once over a connection, or read from records that are followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.browse import browse
from ansible_collections.btmm.fleet.plugins.module_utils.lease import InvalidLease, Trace
from ansible_collections.btmm.fleet.plugins.module_utils.push import REMOVE, Question
from ansible_collections.btmm.fleet.plugins.module_utils.records import MEDIATED, RELAYED, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from ansible_collections.btmm.fleet.plugins.module_utils.browse import Asker, FoundHost
    from ansible_collections.btmm.fleet.plugins.module_utils.push import Change
    from dns.name import Name
    from dns.rdata import Rdata
    from dns.rdatatype import RdataType

_SRV, _TXT = dns.rdatatype.SRV, dns.rdatatype.TXT


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A host of the zone: what it offers, the best rung that it is published with, its last sign of life (UTC)."""

    found: FoundHost
    rung: str | None
    refreshed: datetime | None


def survey(asker: Asker, zone: Name) -> list[Surveyed]:
    """Return the hosts that offer something. No address is asked for: it would open a tunnel to each of them.

    Raises:
        UpdateError: the zone could not be asked.
    """
    hosts = browse(asker, zone, addresses=False).hosts
    questions = [
        question
        for host in hosts
        for question in (
            (names.autotunnel_name(host.label, zone), _SRV),
            (names.lease_name(host.label, zone), _TXT),
        )
    ]
    answers = iter(asker.lookups(questions))
    return [Surveyed(host, _rung(next(answers)), _refreshed(next(answers))) for host in hosts]


class Held:
    """Records that are followed, as someone who can be asked; what was asked is what has to be followed next."""

    def __init__(self, zone: Name) -> None:
        self._zone = zone
        self._records: dict[tuple[Name, int], dict[Rdata, None]] = {}
        self._asked: dict[tuple[Name, int], None] = {}

    def zone_of(self, _name: Name) -> Name:
        """Return the zone: nothing outside of it is ever held."""
        return self._zone

    def lookups(self, sets: Sequence[tuple[Name, RdataType]]) -> list[list[Record]]:
        """Return the records that are known of each set now."""
        self._asked.update(dict.fromkeys((name, int(rdtype)) for name, rdtype in sets))
        return [[Record(name, 0, rdata) for rdata in self._records.get((name, rdtype), ())] for name, rdtype in sets]

    def take(self, changes: Iterable[Change]) -> None:
        """Note single records that came or went."""
        for change in changes:
            if change.rdata is None:
                continue
            held = self._records.setdefault((change.name, change.rdtype), {})
            if change.ttl == REMOVE:
                held.pop(change.rdata, None)
            else:
                held[change.rdata] = None

    def survey(self) -> tuple[list[Surveyed], list[Question]]:
        """Return the hosts as they are known now, and what has to be followed to know more and stay right."""
        self._asked.clear()
        hosts = survey(self, self._zone)
        # What is no longer followed would be wrong when it is asked for again.
        self._records = {key: held for key, held in self._records.items() if key in self._asked}
        return hosts, [Question(name, rdtype) for name, rdtype in self._asked]


def _rung(answer: Sequence[Record]) -> str | None:
    """Return the name of the best rung; its number is the SRV's priority (architecture, Names)."""
    priority = min((getattr(record.rdata, "priority", RELAYED) for record in answer), default=None)
    if priority is None:
        return None
    return {MEDIATED: "mediated", RELAYED: "relayed"}.get(priority, "direct")


def _refreshed(answer: Sequence[Record]) -> datetime | None:
    try:
        return Trace.from_strings(answer[0].rdata.strings).refreshed if answer else None  # type: ignore[attr-defined]
    except InvalidLease:
        return None
