# SPDX-License-Identifier: GPL-3.0-or-later
"""Browsing a zone as its users do (RFC 6763): from service types to instances to the hosts that offer them.

Everything read here was written by some host, so a name, a title or a text is data of a stranger: what is not what it
should be is left out, and told.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Protocol

import dns.name
import dns.rdatatype

from . import names
from .ownership import target_of
from .records import Service
from .update import NotAuthoritative

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.name import Name
    from dns.rdatatype import RdataType

    from .records import Record

_AAAA, _PTR, _SRV, _TXT = dns.rdatatype.AAAA, dns.rdatatype.PTR, dns.rdatatype.SRV, dns.rdatatype.TXT


class Asker(Protocol):
    """Who answers questions: an `Exchange`, for example."""

    def zone_of(self, name: Name) -> Name:
        """Return the zone that the name is in."""

    def lookups(self, sets: Sequence[tuple[Name, RdataType]]) -> list[list[Record]]:
        """Return the records of several sets, in their order."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A service as it is browsed: its title is what a person picks from the list."""

    title: str
    service: Service


@dataclass(frozen=True, slots=True)
class FoundHost:
    """A host that offers something; `ula` is None when it has no address, or none was asked for."""

    label: str
    name: Name
    offers: tuple[Offer, ...]
    ula: IPv6Address | None = None
    model: str | None = None
    realm: str | None = None

    @property
    def title(self) -> str:
        """The name that a person knows the host by: that of its first service."""
        return self.offers[0].title


@dataclass(frozen=True, slots=True)
class Found:
    """The hosts by label, and a sentence for each thing that was left out."""

    hosts: tuple[FoundHost, ...]
    faults: tuple[str, ...]


def browse(asker: Asker, zone: Name, *, addresses: bool = True) -> Found:
    """Return all hosts of the zone that offer a service, asking four rounds of questions however many they are.

    Args:
        asker: where to ask.
        zone: the owner's zone.
        addresses: whether to ask for the hosts' ULAs. A watcher's stub opens a tunnel to each host that is asked for.

    Raises:
        NotAuthoritative: the server does not serve the zone.
        UpdateError: the server could not be asked; one of its subclasses.
    """
    served = asker.zone_of(zone)
    if served != zone:
        raise NotAuthoritative(f"'{zone}' is not a zone, it is a name in '{served}': correct the zone")
    faults: list[str] = []
    types = _types(asker, zone, faults)
    instances = _instances(asker, types, faults)
    offers = _offers(asker, zone, instances, faults)
    info = names.service_name("_device-info._tcp", zone).labels
    questions: list[tuple[Name, RdataType]] = []
    for label, offered in offers.items():
        own = names.host_name(label, zone)
        device = dns.name.Name((offered[0].title.encode(), *info))
        questions += [(device, _TXT), (names.kerberos_name(label, zone), _TXT)]
        questions += [(own, _AAAA)] if addresses else []
    answers = iter(asker.lookups(questions))
    hosts = [
        FoundHost(
            label=label,
            name=names.host_name(label, zone),
            offers=tuple(offered),
            model=_value(next(answers), "model="),
            realm=_value(next(answers), ""),
            ula=_ula(next(answers)) if addresses else None,
        )
        for label, offered in offers.items()
    ]
    return Found(tuple(sorted(hosts, key=lambda host: host.label)), tuple(faults))


def _types(asker: Asker, zone: Name, faults: list[str]) -> dict[Name, str]:
    """Return the service types of the zone by name, in their order."""
    found = {}
    (pointers,) = asker.lookups([(names.enumeration_name(zone), _PTR)])
    for target in _targets(pointers):
        kind = _text(target.relativize(zone).labels) if target.is_subdomain(zone) else ""
        try:
            full = names.service_type(kind)
        except names.InvalidName:
            full = ""
        if full and full == kind.lower():
            found[target] = full
        else:
            faults.append(f"{target} is no service type of {zone}")
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _instances(asker: Asker, types: dict[Name, str], faults: list[str]) -> list[tuple[Name, str]]:
    """Return the instances with their type."""
    found = []
    for (name, kind), pointers in zip(types.items(), asker.lookups([(name, _PTR) for name in types]), strict=True):
        for target in _targets(pointers):
            if len(target) == len(name) + 1 and target.is_subdomain(name):
                found.append((target, kind))
            else:
                faults.append(f"{target} is no instance of {name}")
    return found


def _offers(asker: Asker, zone: Name, instances: list[tuple[Name, str]], faults: list[str]) -> dict[str, list[Offer]]:
    """Return what each host offers, by label."""
    questions = [(instance, rdtype) for instance, _ in instances for rdtype in (_SRV, _TXT)]
    answers = asker.lookups(questions)
    found: dict[str, list[Offer]] = {}
    for number, (instance, kind) in enumerate(instances):
        locations, texts = answers[2 * number : 2 * number + 2]
        if not locations:
            faults.append(f"{instance} has no SRV")
            continue
        best = min(locations, key=lambda record: getattr(record.rdata, "priority", 0))
        target = target_of(best)
        try:
            if target is None or target.parent() != zone:
                raise names.InvalidName(f"'{target}' is not in {zone}")
            label = names.check_label(_text(target.labels[:1]))
            title = names.check_title(_text(instance.labels[:1]))
        except (names.InvalidName, dns.name.NoParent) as error:
            faults.append(f"{instance} is not on a host of the zone: {error}")
            continue
        strings = tuple(_text([octets]) for octets in _strings(texts) if octets)
        found.setdefault(label, []).append(Offer(title, Service(kind, int(getattr(best.rdata, "port", 0)), strings)))
    return found


def _targets(pointers: Iterable[Record]) -> list[Name]:
    return sorted(target for record in pointers if (target := target_of(record)) is not None)


def _strings(texts: Sequence[Record]) -> tuple[bytes, ...]:
    """Return the strings of a TXT set; of several records the first (RFC 6763 section 6.8)."""
    return tuple(getattr(texts[0].rdata, "strings", ())) if texts else ()


def _value(texts: Sequence[Record], key: str) -> str | None:
    """Return what follows `key` in the first string that begins with it."""
    strings = [_text([octets]) for octets in _strings(texts)]
    return next((string[len(key) :] for string in strings if string.lower().startswith(key)), None) or None


def _ula(answer: Sequence[Record]) -> IPv6Address | None:
    return IPv6Address(answer[0].rdata.to_text()) if answer else None


def _text(labels: Iterable[bytes]) -> str:
    """Return labels or strings as text; what is no UTF-8 shows as such."""
    return b".".join(labels).decode(errors="replace")
