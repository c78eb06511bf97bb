# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone's primary: TLS, key, clock, and whether the zone holds exactly what this host published."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import dns.message
import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import json_files
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server, Untrusted
from ansible_collections.btmm.fleet.plugins.module_utils.names import lease_name
from ansible_collections.btmm.fleet.plugins.module_utils.records import InvalidRecord, Record
from ansible_collections.btmm.fleet.plugins.module_utils.update import BadKey, BadTime, UpdateError

from . import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from . import Patient

_TIMEOUT_S = 3.0
_SKEW_S = 60  # TSIG allows 300 s (RFC 8945 section 10): told long before it stops everything


def check(patient: Patient) -> Iterator[Finding]:
    """Ask the primary as the daemon does, over a connection of our own."""
    others = patient.status.get("overwritten")
    if others:
        fix = (
            f"see which copy of this host has the key of {patient.config.host.label}, and enrol it as a host of its own"
        )
        yield Finding("conflict", f"another writer changed {', '.join(others)}", fix)
    server = patient.config.server
    failure: UpdateError | None = None
    for address in server.addresses:
        try:
            at = Server(address, server.port, True, str(patient.config.ca), server.name, _TIMEOUT_S)
            with Exchange(at, patient.config.key) as exchange:
                yield from _ask(patient, exchange)
                return
        except UpdateError as err:
            failure = failure or err
    yield Finding("zone", str(failure), _fix(failure))


def _fix(failure: UpdateError | None) -> str:
    if isinstance(failure, Untrusted):
        return "run the zone role for the zone host, or the identity role for this one: a certificate there is old"
    if isinstance(failure, BadTime):
        return "set this host's clock: systemctl restart systemd-timesyncd"
    if isinstance(failure, BadKey):
        return "enrol this host again: it and the zone have different keys"
    return "see that the zone host runs, that named does there, and that nothing between blocks its TCP port"


def _ask(patient: Patient, exchange: Exchange) -> Iterator[Finding]:
    question = dns.message.make_query(patient.config.zone, dns.rdatatype.SOA, flags=0)
    answer = exchange.send(question)
    yield Finding("zone", f"{exchange.server} answers; its certificate and our key are good")
    signed = answer.tsig[0].time_signed if answer.tsig else None  # RFC 8945 section 4.2: the server's clock
    if signed is not None:
        skew = int(time.time()) - int(signed)
        far = abs(skew) > _SKEW_S
        fix = "set this host's clock: systemctl restart systemd-timesyncd" if far else ""
        yield Finding("clock", f"{skew:+d} s against the zone server", fix)
    yield _records(patient, exchange)


def _records(patient: Patient, exchange: Exchange) -> Finding:
    hop, zone = "records", patient.config.zone
    stored = json_files.read(patient.places.state / "published.json")
    try:
        held = [Record.from_text(line) for line in stored.get("zones", {}).get(zone.to_text(), ())]
    except (InvalidRecord, AttributeError, TypeError):
        held = []
    if not held:
        return Finding(hop, "this host has published nothing", "mend what else is wrong; the daemon goes on trying")
    trace = lease_name(patient.config.host.label, zone)
    sets: dict[tuple[object, object], list[Record]] = {}
    for record in held:
        sets.setdefault((record.name, record.rdata.rdtype), []).append(record)
    questions = [(records[0].name, records[0].rdata.rdtype) for records in sets.values()]
    wrong = [
        f"{ours[0].name} {dns.rdatatype.to_text(ours[0].rdata.rdtype)}"
        for ours, theirs in zip(sets.values(), exchange.lookups(questions), strict=True)
        # The lease's own time may be a newer one by now.
        if not (theirs if ours[0].name == trace else _agree(ours, theirs))
    ]
    if wrong:
        fix = f"systemctl restart btmm-watcher@{patient.zone}, which publishes all of them anew"
        return Finding(hop, f"the zone differs from what was published: {', '.join(sorted(wrong))}", fix)
    return Finding(hop, f"the zone holds exactly our {len(held)} records")


def _agree(ours: Iterable[Record], theirs: Iterable[Record]) -> bool:
    """A set of our own has to be equal; one that is shared has to hold ours."""
    mine, there = {record.rdata for record in ours}, {record.rdata for record in theirs}
    return mine <= there if any(record.shared for record in ours) else mine == there
