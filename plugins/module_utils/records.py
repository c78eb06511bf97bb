# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host publishes: one typed list, from which UPDATE messages, BIND grants and texts are all made.

The table in docs/architecture.md ("Names") is the specification; RFC 6281 section 3 and RFC 6763 are its sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
from dns.rdtypes.ANY.TXT import TXT

from . import names, zonefile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dns.name import Name
    from dns.rdatatype import RdataType

    RRset = tuple[tuple[bytes, ...], RdataType]

    from .lease import Trace
    from .realm import Realm

# Seconds: what a moving host changes, and what names a service (the constants of every Apple release).
TTL_HOST = 120
TTL_SERVICE = 4500

_IN = dns.rdataclass.IN


class InvalidRecord(ValueError):
    """Data that cannot become a record, or a host description that is not complete."""


@dataclass(frozen=True, slots=True)
class Service:
    """Something a host offers: its type in full (`_ssh._tcp`), the plain local port, its TXT strings."""

    type: str
    port: int
    txt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An outer address, of either family, and the UDP port at which a tunnel is reached there."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Server:
    """A zone host that helps hosts without an address of their own; it has addresses at its own name."""

    name: Name
    port: int


@dataclass(frozen=True, slots=True)
class Reach:
    """All ways to a host's tunnel: direct, from its own LAN, by a server's mediation, by a server's relay.

    `direct` has at most one endpoint of each family. `lan` is the own address of a host behind a NAT.
    """

    direct: tuple[Endpoint, ...] = ()
    lan: Endpoint | None = None
    mediators: tuple[Server, ...] = ()
    relays: tuple[Server, ...] = ()


# The SRV priorities of the rungs (RFC 2782): who reads them tries direct ways first, then mediation, then the relay.
DIRECT, MEDIATED, RELAYED = 10, 20, 30


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the fleet as its configuration describes it."""

    zone: Name
    label: str
    title: str
    ula: IPv6Address
    model: str | None
    services: tuple[Service, ...]
    realm: Realm | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record of class IN; `ttl` in seconds.

    `shared` says who owns the RRset: other hosts have records of their own in a shared set, and keep them.
    """

    name: Name
    ttl: int
    rdata: dns.rdata.Rdata
    shared: bool = False

    def to_text(self) -> str:
        """Return the record as one line of a zone file (RFC 1035 section 5.1), all names absolute."""
        kind = dns.rdatatype.to_text(self.rdata.rdtype)
        return f"{self.name} {self.ttl} IN {kind} {self.rdata.to_text()}"

    @classmethod
    def from_text(cls, text: str, origin: Name | None = None) -> Record:
        """Read one line of a zone file: `name ttl [IN] type rdata`; `shared` follows from name and type.

        Names that do not end in a dot are below `origin`. Octets outside ASCII are taken as UTF-8, never as IDNA,
        since DNS-SD instance names are UTF-8 (RFC 6763 section 4.1.3).

        Raises:
            InvalidRecord: the line is not a complete record.
        """
        if "\n" in text:
            raise InvalidRecord(f"'{names.shorten(text)}' is not a record: it has more than one line")
        try:
            tokens = dns.tokenizer.Tokenizer(zonefile.escape(text))
            name = tokens.get_name(origin)
            ttl = tokens.get_ttl()
            kind = tokens.get_string()
            if kind.upper() == "IN":
                kind = tokens.get_string()
            rdtype = dns.rdatatype.from_text(kind)
            rdata = dns.rdata.from_text(_IN, rdtype, tokens, origin, relativize=False)
        except (dns.exception.DNSException, ValueError) as error:
            reason = zonefile.reason(error)
            raise InvalidRecord(f"'{names.shorten(text)}' is not a record: {reason}") from error
        if not name.is_absolute():
            raise InvalidRecord(f"'{names.shorten(text)}' is not a record: the name must end in a dot")
        return cls(name, ttl, rdata, is_shared(name, rdtype))


def rrset(record: Record) -> RRset:
    """Return what identifies the record's RRset: its folded owner name and its type."""
    return names.folded(record.name), record.rdata.rdtype


def is_shared(name: Name, rdtype: dns.rdatatype.RdataType) -> bool:
    """Tell whether many hosts have records there: PTR at a service type or at `_services._dns-sd._udp`."""
    return rdtype == dns.rdatatype.PTR and name.labels[0].startswith(b"_")


def host_records(host: Host, reach: Reach, trace: Trace | None = None) -> tuple[Record, ...]:
    """Return all forward records of a host, in the order of publication; with `trace`, also that of its lease.

    A and SRV of the tunnel come before the AAAA, which is the gate for the services (facts, section 3.2, steps 6-9).
    """
    zone = host.zone
    own = names.host_name(host.label, zone)
    out = [*reach_records(host, reach), Record(own, TTL_HOST, _rdata("AAAA", str(host.ula)))]
    for service in host.services:
        kind = names.service_name(service.type, zone)
        instance = names.instance_name(host.title, service.type, zone)
        out += [
            Record(instance, TTL_HOST, _srv(service.port, own)),
            Record(instance, TTL_SERVICE, txt_rdata(service.txt)),
            Record(kind, TTL_SERVICE, _ptr(instance), shared=True),
            Record(names.enumeration_name(zone), TTL_SERVICE, _ptr(kind), shared=True),
        ]
    if host.model is not None:
        info = names.instance_name(host.title, "_device-info._tcp", zone)
        out.append(Record(info, TTL_SERVICE, txt_rdata([f"model={host.model}"])))
    if host.realm is not None:
        at = names.kerberos_name(host.label, zone)
        out += [Record(at, TTL_HOST, rdata) for rdata in host.realm.rdatas()]
    if trace is not None:
        out.append(Record(names.lease_name(host.label, zone), TTL_HOST, txt_rdata(trace.to_strings())))
    return tuple(out)


def reach_records(host: Host, reach: Reach) -> list[Record]:
    """Return where the tunnel is reached: the addresses, then the SRV of each way.

    An SRV has one port for all addresses of its target, and a mapped IPv4 port may differ from the IPv6 one: then the
    IPv6 address has a target of its own. The private address of the LAN is at a name that only we look up, so that no
    other implementation tries it from outside.
    """
    zone = host.zone
    target, target6, inner = (names.autotunnel_target(host.ula, zone, kind) for kind in ("", "6", "lan"))
    mapped = {endpoint.port for endpoint in reach.direct if endpoint.address.version == 4}
    addresses: list[Record] = []
    ways: dict[dns.rdata.Rdata, None] = {}
    for endpoint in reach.direct:
        apart = endpoint.address.version == 6 and bool(mapped) and endpoint.port not in mapped
        at = target6 if apart else target
        addresses.append(_address(at, endpoint))
        ways[_srv(endpoint.port, at, DIRECT)] = None
    for priority, servers in ((MEDIATED, reach.mediators), (RELAYED, reach.relays)):
        ways.update(dict.fromkeys(_srv(server.port, server.name, priority) for server in servers))
    out = [*addresses, *(Record(names.autotunnel_name(host.label, zone), TTL_HOST, way) for way in ways)]
    if reach.lan is not None:
        lan_name = names.autotunnel_lan_name(host.label, zone)
        out += [_address(inner, reach.lan), Record(lan_name, TTL_HOST, _srv(reach.lan.port, inner))]
    return out


def reverse_record(host: Host) -> Record:
    """Return the PTR from the host's ULA to its name, for the ip6.arpa zone."""
    return Record(names.reverse_name(host.ula), TTL_HOST, _ptr(names.host_name(host.label, host.zone)))


def host_from_config(config: Mapping[str, Any]) -> Host:
    """Return the host a mapping describes: keys zone, label, ula, and optionally title, model, services.

    It is the form of inventory variables and of watcher.json with `services` put in; other keys are ignored.

    Raises:
        InvalidName: zone, label, title or a service type is not valid.
        InvalidRecord: anything else is missing or not valid.
    """
    missing = [key for key in ("zone", "label", "ula") if not config.get(key)]
    if missing:
        raise InvalidRecord(f"the host description lacks {', '.join(missing)}")
    label = names.check_label(str(config["label"]))
    try:
        ula = IPv6Address(str(config["ula"]))
    except ValueError as error:
        raise InvalidRecord(f"host {label}: '{config['ula']}' is not an IPv6 address") from error
    services = tuple(_service(label, entry) for entry in config.get("services") or ())
    twice = {service.type for service in services if sum(other.type == service.type for other in services) > 1}
    if twice:
        raise InvalidRecord(
            f"host {label} offers {min(twice)} twice: a title names one instance of a type, list it once"
        )
    model = config.get("model") or None
    host = Host(
        zone=names.parse_zone(str(config["zone"])),
        label=label,
        title=names.check_title(str(config.get("title") or label)),
        ula=ula,
        model=None if model is None else str(model),
        services=services,
    )
    # The longest name and string are known only when they are made: say so now, not at the first publication.
    host_records(host, Reach())
    return host


def txt_rdata(strings: Iterable[str]) -> TXT:
    """Return TXT rdata of the strings; of none, the single empty string that RFC 6763 section 6.1 asks for.

    Raises:
        InvalidRecord: a string has more than 255 octets of UTF-8, or is no Unicode text.
    """
    try:
        octets = [string.encode() for string in strings] or [b""]
    except UnicodeEncodeError as error:  # a lone surrogate
        raise InvalidRecord(f"TXT string {error.object!a} is not Unicode text: correct it") from error
    long = next((string for string in octets if len(string) > zonefile.MAX_STRING), None)
    if long is not None:
        start = long[:24].decode(errors="replace")
        raise InvalidRecord(f"TXT string '{start}...' has {len(long)} octets, {zonefile.MAX_STRING} fit: shorten it")
    return TXT(_IN, dns.rdatatype.TXT, octets)


def _service(label: str, entry: Mapping[str, Any]) -> Service:
    """Return the service of one list entry `{type, port, txt}`."""
    try:
        kind, port, txt = entry["type"], entry["port"], entry.get("txt") or []
        number = int(port)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidRecord(f"host {label}: service {entry!r} needs a type and a port number") from error
    if isinstance(port, bool) or not 0 < number < 1 << 16:
        raise InvalidRecord(f"host {label}: port {port!r} of service {kind} is not in 1 to 65535")
    if not isinstance(txt, list | tuple):
        raise InvalidRecord(f"host {label}: txt of service {kind} must be a list of strings")
    return Service(names.service_type(str(kind)), number, tuple(str(string) for string in txt))


def _srv(port: int, target: Name, priority: int = 0) -> dns.rdata.Rdata:
    return _rdata("SRV", f"{priority} 0 {port} {target}")


def _address(name: Name, endpoint: Endpoint) -> Record:
    kind = "A" if endpoint.address.version == 4 else "AAAA"
    return Record(name, TTL_HOST, _rdata(kind, str(endpoint.address)))


def _ptr(target: Name) -> dns.rdata.Rdata:
    return _rdata("PTR", str(target))


def _rdata(kind: str, text: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(_IN, kind, text, relativize=False)
