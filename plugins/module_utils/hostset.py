# SPDX-License-Identifier: GPL-3.0-or-later
"""From the descriptions of hosts to what each wants in the zones, and back to one result for each host."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from .names import InvalidName, check_label, check_text, reverse_zone
from .publication import Wanted
from .publisher import Outcome, publish, withdraw
from .records import Endpoint, InvalidRecord, Reach, Record, host_from_config, host_records, reverse_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv6Network

    from dns.name import Name

    from .session import Session


@dataclass(slots=True)
class Result:
    """What became of one host in all zones: why it failed (None: it did not), and what differed."""

    failure: str | None = None
    before: list[Record] = field(default_factory=list)
    after: list[Record] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, sent for it."""
        return bool(self.before or self.after)


def present(
    session: Session,
    zone: Name,
    hosts: Sequence[Mapping[str, Any]],
    *,
    prefix: IPv6Network | None = None,
    check: bool = False,
    guarded: bool = True,
) -> tuple[dict[str, Result], int]:
    """Bring the zone, and with a `prefix` its ip6.arpa zone, to what the hosts' descriptions say.

    Args:
        session: asks the primary of both zones.
        zone: the owner's zone.
        hosts: descriptions as of `host_options.HOST_ARGUMENTS`.
        prefix: the fleet's /48; without it no reverse pointers are published.
        check: only read and compare.
        guarded: as for `publisher.publish`.

    Returns:
        The result of each host by its name, and the number of UPDATE messages.

    Raises:
        UpdateError: no host could be published.
    """
    results: dict[str, Result] = {}
    forward: list[Wanted] = []
    pointers: list[Wanted] = []
    for description in hosts:
        name = description.get("name") or description["label"]
        try:
            label = check_label(description["label"])
            if name in results:
                raise InvalidRecord("it is listed twice: remove one entry")
            results[name] = Result()
            wanted, pointer = _wanted(zone, description, prefix)
            forward.append(Wanted(name, wanted, label if description.get("endpoint") else None))
            if pointer is not None:
                pointers.append(Wanted(name, (pointer,), label))
        except ValueError as error:
            results[name] = Result(failure=str(error))
    outcome = publish(session, zone, forward, check=check, guarded=guarded)
    _merge(results, outcome)
    messages = outcome.messages
    reachable = [each for each in pointers if results[each.host].failure is None]
    if prefix is not None and reachable:
        outcome = publish(session, reverse_zone(prefix), reachable, owner_zone=zone, check=check, guarded=guarded)
        _merge(results, outcome)
        messages += outcome.messages
    return results, messages


def absent(
    session: Session, zone: Name, labels: Sequence[str], *, prefix: IPv6Network, check: bool = False
) -> tuple[dict[str, Result], int]:
    """Take all records of the hosts out of the zone and its ip6.arpa zone; see `present`."""
    results = {check_label(label): Result() for label in labels}
    messages = 0
    for each in (zone, reverse_zone(prefix)):
        outcome = withdraw(session, each, list(results), owner_zone=zone, check=check)
        _merge(results, outcome)
        messages += outcome.messages
    return results, messages


def _wanted(
    zone: Name, description: Mapping[str, Any], prefix: IPv6Network | None
) -> tuple[tuple[Record, ...], Record | None]:
    """Return a host's forward records, and its reverse pointer when it has an address."""
    extra = tuple(Record.from_text(line, zone) for line in description.get("records") or ())
    for record in extra:
        check_text(record.name)
        if not record.name.is_subdomain(zone):
            raise InvalidName(f"'{record.name}' is not in zone {zone}: list only records of this zone")
    endpoint = description.get("endpoint")
    if endpoint is None:
        if not extra:
            raise InvalidRecord("it has neither an endpoint nor records: give one of them")
        return extra, None
    host = host_from_config({**description, "zone": str(zone)})
    if prefix is not None and host.ula not in prefix:
        raise InvalidRecord(f"its address {host.ula} is not in the fleet's {prefix}: correct one of them")
    try:
        outer = Endpoint(ip_address(endpoint["address"]), endpoint["port"])
    except ValueError as error:
        raise InvalidRecord(f"its endpoint '{endpoint['address']}' is not an IP address: correct it") from error
    if not 0 < outer.port < 1 << 16:
        raise InvalidRecord(f"its endpoint's port {outer.port} is not in 1 to 65535: correct it")
    return (*host_records(host, Reach((outer,))), *extra), reverse_record(host)


def _merge(results: dict[str, Result], outcome: Outcome) -> None:
    for host, failure in outcome.failed.items():
        results[host].failure = failure
    for host, change in outcome.changes.items():
        results[host].before += change.before
        results[host].after += change.wanted
