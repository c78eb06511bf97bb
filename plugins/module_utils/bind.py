# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys and grants of BIND: one entry per host, and the include files that are made of all entries.

An entry is kept in a file of its own, so a run for one host reads the others' entries and leaves them as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.tsig

from .names import tsig_key_name
from .policy import Grant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dns.name import Name

ALGORITHM = "hmac-sha256"
# No host can have this name: a host label has no underscore.
ADMIN_LABEL = "_admin"
READERS_ACL = "btmm-readers"
OWNER_ACL = "btmm-owner"
SECONDARIES_ACL = "btmm-secondaries"
_KEY = re.compile(r'key\s+"?([^"\s]+)"?\s*\{\s*algorithm\s+"?([^";\s]+)"?\s*;\s*secret\s+"?([^";\s]+)"?\s*;')
_SECRET = re.compile(r'secret "([^"]*)"')


@dataclass(frozen=True, slots=True)
class Entry:
    """A host's TSIG secret (base64) and what it may write.

    `former` are names it had before: it has to be able to withdraw them, or its whole next message is refused.
    `old` are keys (generation and secret) that stay valid until the host is known to use the new one.
    """

    secret: str
    grants: tuple[Grant, ...]
    former: tuple[Grant, ...] = ()
    generation: int = 0
    old: tuple[tuple[int, str], ...] = ()

    def to_json(self) -> str:
        """Return the form that is stored on the zone host."""
        document = {
            "secret": self.secret,
            "grants": plain_grants(self.grants),
            "former": plain_grants(self.former),
            "generation": self.generation,
            "old": [list(key) for key in self.old],
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """Read the stored form.

        Raises:
            ValueError: the text is not one.
        """
        try:
            document = json.loads(text)
            return cls(
                document["secret"],
                parse_grants(document["grants"]),
                parse_grants(document["former"]),
                int(document.get("generation", 0)),
                tuple((int(generation), str(secret)) for generation, secret in document.get("old", [])),
            )
        except (KeyError, TypeError, AttributeError, dns.exception.DNSException) as error:
            raise ValueError(f"not the entry of a host: {error!r}") from error

    def keys(self, label: str, zone: Name) -> dict[Name, str]:
        """Return every key that is valid for the host now, by name, with its secret."""
        valid = ((self.generation, self.secret), *self.old)
        return {tsig_key_name(label, zone, generation): secret for generation, secret in valid}


def parse_grants(entries: Iterable[Mapping[str, Any]]) -> tuple[Grant, ...]:
    """Return grants from their plain form `{name, types, shared}`."""
    return tuple(Grant(dns.name.from_text(e["name"]), tuple(e["types"]), bool(e["shared"])) for e in entries)


def plain_grants(grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """Return grants in the plain form that JSON and module arguments carry."""
    return [{"name": grant.name.to_text(), "types": list(grant.types), "shared": grant.shared} for grant in grants]


def enrol(
    present: Mapping[str, Entry], wanted: Mapping[str, Entry], *, retire: bool = False
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Merge hosts into those that are there; return all entries, and a sentence for each host that cannot have its own.

    A host with a key of a new generation keeps the old one beside it, until it is given again with `retire`.
    A name that is not shared belongs to one host: who claims it first keeps it, and the other host is left as it was.
    A name that its owner gave up is free for others.
    """
    entries = dict(present)
    refused: dict[str, str] = {}
    for label, entry in wanted.items():
        if not entry.secret:
            refused[label] = f"host {label} has no TSIG secret: give one"
            continue
        claimed = {grant.name for grant in entry.grants if not grant.shared}
        rival = next(
            (
                (other, grant)
                for other, theirs in entries.items()
                for grant in theirs.grants
                if other != label and not grant.shared and grant.name in claimed
            ),
            None,
        )
        if rival is not None:
            other, grant = rival
            refused[label] = f"host {label} wants '{grant.name}', which is {other}'s: give it another label or title"
            continue
        for other, theirs in entries.items():
            former = tuple(grant for grant in theirs.former if grant.shared or grant.name not in claimed)
            if other != label and former != theirs.former:
                entries[other] = replace(theirs, former=former)
        before = entries.get(label)
        entries[label] = replace(entry, former=_former(before, entry), old=() if retire else _old(before, entry))
    return entries, refused


def key_conf(name: Name, secret: str) -> str:
    """Return one `key` statement, which is also the form that `nsupdate -k` reads."""
    return f'key "{name}" {{ algorithm {ALGORITHM}; secret "{secret}"; }};\n'


def parse_key(text: str) -> dns.tsig.Key:
    """Return the key of a `key` statement.

    Raises:
        ValueError: the text is not one.
    """
    keys = parse_keys(text)
    if not keys:
        raise ValueError('not a key statement: key "NAME" { algorithm NAME; secret "BASE64"; };')
    return keys[0]


def parse_keys(text: str) -> list[dns.tsig.Key]:
    """Return the keys of all `key` statements in a text, such as `keys_conf` makes."""
    return [
        dns.tsig.Key(dns.name.from_text(match[1]), match[3], dns.name.from_text(match[2]))
        for match in _KEY.finditer(text)
    ]


def admin_key_name(zone: Name) -> Name:
    """Return the name of the key that may write and transfer everything."""
    return dns.name.Name((ADMIN_LABEL.encode(), *zone.labels))


def keys_conf(zone: Name, entries: Mapping[str, Entry]) -> str:
    """Return the hosts' keys, and the ACLs of who may read the zone and who may transfer it.

    Who has a key and nothing to write is a secondary server.
    """
    keys = {label: entries[label].keys(label, zone) for label in sorted(entries)}
    admin = admin_key_name(zone)
    secondaries = [name for label, own in keys.items() if not entries[label].grants for name in own]
    return (
        "".join(key_conf(name, secret) for own in keys.values() for name, secret in own.items())
        + _acl(OWNER_ACL, [admin])
        + _acl(SECONDARIES_ACL, secondaries)
        + _acl(READERS_ACL, [admin, *(name for own in keys.values() for name in own)])
    )


def policy_conf(zone: Name, below: Name, entries: Mapping[str, Entry]) -> str:
    """Return the `update-policy` statement for the names at or below `below`: the owner's zone or its ip6.arpa."""
    # Without ANY the rule would leave out NS and SOA (BIND reference, update-policy).
    rules = [f'grant "{admin_key_name(zone)}" zonesub ANY;']
    for label in sorted(entries):
        grants = (*entries[label].grants, *entries[label].former)
        for key in entries[label].keys(label, zone):
            rules += [grant.to_text(key) for grant in grants if grant.name.is_subdomain(below)]
    return "update-policy {\n" + "".join(f"  {rule}\n" for rule in rules) + "};\n"


def without_secrets(text: str) -> str:
    """Return a configuration text for a diff: of each secret only enough of a hash to see that it changed."""
    return _SECRET.sub(lambda match: f'secret "(hidden, sha256 {_hash(match[1])}...)"', text)


def _acl(name: str, keys: Iterable[Name]) -> str:
    return f'acl "{name}" {{\n' + ("".join(f'  key "{key}";\n' for key in keys) or "  none;\n") + "};\n"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def _old(before: Entry | None, entry: Entry) -> tuple[tuple[int, str], ...]:
    """Return the keys that the host may still be using."""
    if before is None:
        return ()
    keys = dict(((before.generation, before.secret), *before.old))
    # One name can have one secret only: of the same generation, the new one counts.
    keys.pop(entry.generation, None)
    return tuple(keys.items())


def _former(before: Entry | None, entry: Entry) -> tuple[Grant, ...]:
    """Return what the host could write before and is not going to write any more."""
    if before is None:
        return ()
    now = {(grant.name, kind) for grant in entry.grants for kind in grant.types}
    return tuple(
        grant
        for grant in dict.fromkeys((*before.grants, *before.former))
        if not {(grant.name, kind) for kind in grant.types} <= now
    )
