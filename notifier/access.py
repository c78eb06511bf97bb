# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be told of which zones: a host's TSIG key, or its certificate of the owner CA, opens that owner's zones.

A host counts for as long as BIND has a key for it, and who came by a key for as long as BIND has that one. So a host
that was taken out of the zone is locked out here, too, while its certificate is good until it expires.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import dns.exception
import dns.name
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils.bind import parse_keys
from ansible_collections.btmm.fleet.plugins.module_utils.names import folded
from ansible_collections.btmm.fleet.plugins.module_utils.tls import server_context

from .errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

    from dns.name import Name

ALPN = ("dot",)
# What stands before the host's label once its key was replaced (names.tsig_key_name).
_GENERATION = re.compile(rb"g([0-9]+)\Z")
_FIX = "run the role notifier for this host again"


@dataclass(frozen=True, slots=True)
class Domain:
    """One owner's zones on this host, and the folder of the files that tell who may know them.

    `server_name` is this server's in the zone, which clients ask for (SNI) and its certificate bears. Zones that are
    `public` are open to everybody. In the folder are keys.conf (as BIND has it), cert.pem, key.pem, ca.pem and crl.pem.
    """

    zone: Name
    reverse_zone: Name
    server_name: str
    directory: Path
    public: bool = False

    @property
    def zones(self) -> frozenset[Name]:
        """The owner's zone and its ip6.arpa zone."""
        return frozenset((self.zone, self.reverse_zone))

    def keys(self) -> dict[Name, dns.tsig.Key]:
        """Read all TSIG keys that BIND has for the zone, the notifier's own among them.

        Raises:
            ConfigError: the file can't be read.
        """
        path = self.directory / "keys.conf"
        try:
            return {key.name: key for key in parse_keys(path.read_text(encoding="ascii"))}
        except (OSError, ValueError, dns.exception.DNSException) as err:
            raise ConfigError(f"the keys in {path} can't be read ({err}): {_FIX}") from err

    def keys_of(self, label: str) -> list[dns.tsig.Key]:
        """Read the keys of one host or server, the newest first: while one is replaced, it has two.

        Raises:
            ConfigError: the file can't be read, or has none for it.
        """
        client = Client(self.zone, label.encode())
        keys = [key for name, key in self.keys().items() if _holder(name, self.zone) == client]
        if not keys:
            raise ConfigError(
                f"{self.directory}/keys.conf has no key of {client}: run the roles zone and notifier again"
            )
        return sorted(keys, key=lambda key: _generation(key.name), reverse=True)

    def context(self) -> ssl.SSLContext:
        """Read the server's certificate and the owner CA.

        Raises:
            ConfigError: one can't be read.
        """
        certificate, key, authority, revoked = (self.directory / f"{name}.pem" for name in ("cert", "key", "ca", "crl"))
        try:
            # Nobody has to show a certificate: a host's key is as good, and its session takes a third less memory,
            # since OpenSSL keeps a client's certificate for as long as the session.
            return server_context(certificate, key, authority, ALPN, everybody=True, revoked=revoked)
        except OSError as err:
            raise ConfigError(
                f"certificate, key, CA or revocation list in {self.directory} can't be read ({err}): {_FIX}"
            ) from err


@dataclass(frozen=True, slots=True)
class Client:
    """Who a client has proved to be: the host with this label (lower case), of the owner of this zone.

    `key` is what it has proved that by; None when it was a certificate. Either way it is the same client.
    """

    zone: Name
    label: bytes
    key: Name | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Return the host's name."""
        return f"{self.label.decode('ascii', 'replace')}.{self.zone.to_text(omit_final_dot=True)}"


class Access:
    """Judges clients. After each `update` open sessions have to be judged again: ask `opens` once more."""

    def __init__(self) -> None:
        self._domains: dict[Name, Domain] = {}
        self._keys: dict[Name, dict[Name, dns.tsig.Key]] = {}
        self._labels: dict[Name, frozenset[bytes]] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._zone_of: WeakKeyDictionary[ssl.SSLContext, Name] = WeakKeyDictionary()
        self._listening: ssl.SSLContext | None = None

    def update(self, domains: Sequence[Domain]) -> None:
        """Read keys and certificates; when one is wrong, all stays as it was.

        Raises:
            ConfigError: one is missing or wrong; one sentence.
        """
        keys = {domain.zone: domain.keys() for domain in domains}
        contexts = {domain.zone: domain.context() for domain in domains}
        self._domains = {domain.zone: domain for domain in domains}
        self._keys = keys
        self._labels = {
            zone: frozenset(client.label for name in named if (client := _holder(name, zone)))
            for zone, named in keys.items()
        }
        self._contexts = {domain.server_name.lower(): contexts[domain.zone] for domain in domains}
        for zone, context in contexts.items():
            self._zone_of[context] = zone
        if self._listening is None:
            self._listening = domains[0].context()
            self._listening.sni_callback = self._choose

    @property
    def context(self) -> ssl.SSLContext:
        """What a TLS server listens with, for good: each client is led to the certificate and CA of its zone."""
        if self._listening is None:
            raise ConfigError(f"there is no zone to serve: {_FIX}")
        return self._listening

    def key(self, name: Name) -> dns.tsig.Key | None:
        """Return the key that a message may be signed with; None when it is nobody's."""
        return next((keys[name] for keys in self._keys.values() if name in keys), None)

    def server_name(self, zone: Name) -> Name:
        """Return what this server is called in an owner's zone."""
        return dns.name.from_text(self._domains[zone].server_name)

    def identify(self, session: ssl.SSLObject | ssl.SSLSocket) -> Client | None:
        """Return who a TLS client is, after the handshake; None when it has shown no certificate of a host.

        OpenSSL has verified the certificate against the CA of the zone whose server the client asked for.
        """
        zone = self._zone_of.get(session.context)
        certificate = session.getpeercert()
        if zone is None or not certificate:
            return None
        names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
        hosts = (_host(value, zone) for kind, value in names if kind == "DNS")
        return next((host for host in hosts if host), None)

    def identify_key(self, key_name: Name) -> Client | None:
        """Return whose TSIG key it is; None when it is nobody's. Whether the signature is right, is for dnspython."""
        for zone, keys in self._keys.items():
            if key_name in keys:
                holder = _holder(key_name, zone)
                return holder and replace(holder, key=key_name)
        return None

    def opens(self, client: Client | None) -> frozenset[Name]:
        """Return the zones that a client may know now; `None` is a client that is nobody."""
        return frozenset(
            zone
            for domain in self._domains.values()
            if domain.public or (client and client.zone == domain.zone and self._has_key(client))
            for zone in domain.zones
        )

    def _has_key(self, client: Client) -> bool:
        if client.key is not None:
            return client.key in self._keys[client.zone]
        return client.label in self._labels[client.zone]

    def _choose(self, session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Lead a client to the zone whose server it asked for; to the first one when it does not say, or knows none."""
        context = self._contexts.get((name or "").lower()) or next(iter(self._contexts.values()))
        session.context = context


def _host(text: str, zone: Name) -> Client | None:
    """Return the host of a certificate's name, which is directly below the zone."""
    try:
        name = dns.name.from_text(text)
    except dns.exception.DNSException:
        return None
    return Client(zone, folded(name)[0]) if folded(name)[1:] == folded(zone) else None


def _holder(key_name: Name, zone: Name) -> Client | None:
    """Return the host of a TSIG key: `H.Z`, or `g1.H.Z` once it was replaced."""
    labels = folded(key_name)
    if len(labels) > len(zone) + 1 and _GENERATION.match(labels[0]):
        labels = labels[1:]
    return Client(zone, labels[0]) if labels[1:] == folded(zone) else None


def _generation(key_name: Name) -> int:
    match = _GENERATION.match(key_name.labels[0])
    return int(match[1]) if match else 0
