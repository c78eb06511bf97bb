# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the zone and its ip6.arpa true to this host: one signed UPDATE per zone and change, and one per lease."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.name
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import json_files, lease
from ansible_collections.btmm.fleet.plugins.module_utils.names import lease_name
from ansible_collections.btmm.fleet.plugins.module_utils.policy import EVERYWHERE
from ansible_collections.btmm.fleet.plugins.module_utils.records import (
    InvalidRecord,
    Reach,
    Record,
    host_records,
    reach_records,
    reverse_record,
)
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError, host_update

from . import clock
from .errors import ZoneServerError

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from dns.rdata import Rdata

    from .config import Config
    from .follow import RRsetName
    from .zone_client import ZoneClient

_LOGGER = logging.getLogger(__name__)


class Publisher:
    """Remembers what it published, so that what a host no longer offers is withdrawn, even after a crash."""

    def __init__(self, config: Config, client: ZoneClient, state_dir: Path) -> None:
        self._config = config
        self._client = client
        self._path = state_dir / "published.json"
        self._known: dict[dns.name.Name, tuple[Record, ...]] = {}
        self._lease = lease.Lease(config.lease_s)
        self._refresh_at: float | None = None
        self.lease_s = 0  # what the server granted last
        self.overwritten: tuple[str, ...] = ()  # what somebody else had changed when it was looked at last

    def refresh_in(self) -> float | None:
        """Return seconds until the lease has to be refreshed, negative when late; None while nothing is published."""
        return None if self._refresh_at is None else self._refresh_at - clock.boottime()

    def doubt(self) -> None:
        """Have the next `async_publish` send all, as after a sleep or a step of the time of day."""
        self._known.clear()

    async def async_publish(self, reach: Reach) -> bool:
        """Bring both zones to what the host is now; tell whether anything had to be sent.

        The first call of a process always sends: the zone may have changed while nobody looked. So does the call that
        refreshes the lease: a host that slept too long may have been swept from the zone.

        Raises:
            ZoneServerError, UpdateError: the zone is as before; the remembered state covers both possibilities.
        """
        host = self._config.host
        due = self.refresh_in()
        if due is not None and due <= 0:
            await self.async_compare()
            self._known.clear()
        trace = lease.Trace(datetime.now(UTC), self._lease.lease_s)
        return await self._async_bring(
            {self._config.zone: host_records(host, reach, trace), self._config.reverse_zone: (reverse_record(host),)}
        )

    async def async_compare(self, only: Container[RRsetName] | None = None) -> None:
        """See whether the zone still holds what this process published; the last writer wins, but not unseen.

        Args:
            only: the RRsets to look at; None for all.
        """
        sets: dict[RRsetName, set[Rdata]] = {}
        for records in self._known.values():
            for record in self._lasting(records):
                name = (record.name, record.rdata.rdtype)
                if not record.shared and (only is None or name in only):
                    sets.setdefault(name, set()).add(record.rdata)
        try:
            answers = await asyncio.gather(
                *(self._client.async_exchange(dns.message.make_query(*question)) for question in sets)
            )
        except (ZoneServerError, UpdateError):
            return  # the refresh meets the same fault, and tells it
        looked_at = [f"{name} {dns.rdatatype.to_text(rdtype)}" for name, rdtype in sets]
        changed = [
            text
            for text, ((_, rdtype), ours), answer in zip(looked_at, sets.items(), answers, strict=True)
            if ours != {rdata for rrset in answer.answer if rrset.rdtype == rdtype for rdata in rrset}
        ]
        if set(changed) - set(self.overwritten):
            _LOGGER.warning(
                "another writer changed %s, which are ours, and are put back with the next lease: see who else has the"
                " key of %s, as a copy of this host does",
                ", ".join(changed),
                self._config.host_name,
            )
        self.overwritten = (*(each for each in self.overwritten if each not in looked_at), *changed)

    async def async_withdraw(self) -> bool:
        """Take all of this host's records away, in reverse order of publication; tell whether there were any.

        Raises:
            ZoneServerError, UpdateError: as for publishing.
        """
        zones = {**self._load(), **self._known}
        sent = await self._async_bring(dict.fromkeys(reversed(zones), ()))
        self._refresh_at = None
        return sent

    async def _async_bring(self, wanted: dict[dns.name.Name, tuple[Record, ...]]) -> bool:
        stored = self._load()
        sent = False
        for zone, records in wanted.items():
            if zone in self._known and self._lasting(self._known[zone]) == self._lasting(records):
                continue
            before = stored.get(zone, ())
            if not records and not before:
                continue
            # Written ahead: killed between the UPDATE and its answer, the next process still knows of both sets.
            stored[zone] = tuple(dict.fromkeys((*self._lasting(before), *records)))
            self._save(stored)
            self._known.pop(zone, None)  # until the answer comes, nobody knows
            # What a lost state file knew: no way that was published once may outlive its end.
            ways = reach_records(self._config.host, EVERYWHERE) if records and zone == self._config.zone else ()
            message = host_update(zone, records, (*before, *ways))
            if records:
                lease.ask(message, self._lease)
            answer = await self._client.async_exchange(message)
            if zone == self._config.zone and records:
                granted = lease.granted(answer, self._lease)
                self.lease_s = granted.lease_s
                self._refresh_at = clock.boottime() + lease.refresh_after(granted)
            stored[zone] = self._known[zone] = records
            self._save(stored)
            sent = True
        return sent

    def _lasting(self, records: tuple[Record, ...]) -> tuple[Record, ...]:
        """Return the records without the trace of the lease, which is another one each time."""
        trace = lease_name(self._config.host.label, self._config.zone)
        return tuple(record for record in records if record.name != trace)

    def _load(self) -> dict[dns.name.Name, tuple[Record, ...]]:
        stored = json_files.read(self._path)
        if stored.get("host") != self._config.host_name.to_text():
            # Renamed: what the old name left is not this key's to delete, and one refusal would stop the whole message.
            return {}
        try:
            return {
                dns.name.from_text(zone): tuple(Record.from_text(line) for line in lines)
                for zone, lines in stored["zones"].items()
            }
        except (InvalidRecord, dns.exception.DNSException, KeyError, TypeError, AttributeError) as err:
            _LOGGER.warning("%s is ignored, it is damaged: %s", self._path, err)
            return {}

    def _save(self, zones: dict[dns.name.Name, tuple[Record, ...]]) -> None:
        texts = {zone.to_text(): [record.to_text() for record in records] for zone, records in zones.items() if records}
        json_files.write(self._path, {"host": self._config.host_name.to_text(), "zones": texts})
