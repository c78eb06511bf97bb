# SPDX-License-Identifier: GPL-3.0-or-later
"""What principals a Local KDC has, what it should have, and kadmin's commands that lead from one to the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .krb5_names import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .lkdc import Kdc

RULE = "pkinit_cert_match"


@dataclass(frozen=True, slots=True)
class Principal:
    """One principal of the database, without its realm.

    ``kvnos`` are the versions of its keys, ascending; ``keyed`` is when it last got one (None: never); ``rule`` is
    what a certificate must say to be this user.
    """

    name: str
    kvnos: tuple[int, ...] = ()
    enctypes: tuple[str, ...] = ()
    keyed: datetime | None = None
    rule: str = ""

    @property
    def is_own(self) -> bool:
        """Whether the realm itself needs it."""
        service, slash, _ = self.name.partition("/")
        return bool(slash) and service in RESERVED


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a realm's database should have.

    Args:
        realm: the realm.
        services: the services' principals.
        users: the users, with their rules.
        exclusive: nothing else shall be there.
        absent: it is these that shall not be there.
        rotate: services and ticket-granting service shall get new keys beside the present ones.
        old_after: keys beside which there has been a newer one for this long shall be forgotten.
    """

    realm: str
    services: tuple[str, ...]
    users: Mapping[str, str] = field(default_factory=dict)
    exclusive: bool = False
    absent: bool = False
    rotate: bool = False
    old_after: timedelta = timedelta(days=1)

    @property
    def granting(self) -> str:
        """The ticket-granting service: its keys open every ticket for tickets (RFC 4120 section 7.3)."""
        return f"krbtgt/{self.realm}"

    @property
    def listed(self) -> tuple[str, ...]:
        """Services and users."""
        return *self.services, *self.users


@dataclass(frozen=True, slots=True)
class Change:
    """kadmin's commands for one principal, and how it reads before and after."""

    name: str
    commands: tuple[str, ...]
    before: str
    after: str

    @property
    def removes(self) -> bool:
        """Whether the principal is gone afterwards."""
        return not self.after


def read(kdc: Kdc, realm: str) -> dict[str, Principal]:
    """Return every principal of the realm by name; the database is only read.

    Raises:
        LkdcError: it cannot be.
    """
    kvnos: dict[str, set[int]] = {}
    enctypes: dict[str, list[str]] = {}
    for row in kdc.table(realm, "keyinfo"):
        kvnos.setdefault(row["name"], set()).add(int(row["kvno"]))
        enctypes.setdefault(row["name"], []).append(row["enctype"])
    rules = {row["name"]: row["value"] for row in kdc.table(realm, "princ_stringattrs") if row["key"] == RULE}
    found = {}
    for row in kdc.table(realm, "princ_meta"):
        full = row["name"]
        name = full.removesuffix(f"@{realm}")
        keyed = datetime.fromisoformat(row["lastpwd"])
        versions, kinds = tuple(sorted(kvnos.get(full, ()))), tuple(dict.fromkeys(enctypes.get(full, ())))
        found[name] = Principal(name, versions, kinds, keyed, rules.get(full, ""))
    return found


def plan(found: Mapping[str, Principal], wanted: Wanted) -> list[Change]:
    """Return what is due, without rotation: done a second time, nothing is."""
    if wanted.absent:
        return _removals(found, wanted.listed)
    changes = [_service(found.get(name), name, wanted) for name in wanted.services]
    changes += [_user(found.get(name), name, rule) for name, rule in wanted.users.items()]
    if wanted.granting in found:
        changes.append(_service(found[wanted.granting], wanted.granting, wanted))
    if wanted.exclusive:
        changes += _removals(found, (name for name in found if name not in wanted.listed and not found[name].is_own))
    return [change for change in changes if change is not None]


def rotations(found: Mapping[str, Principal], wanted: Wanted, changes: Iterable[Change]) -> list[Change]:
    """Return what gives new keys, where it is wanted and ``changes`` do not do so already."""
    if not wanted.rotate or wanted.absent:
        return []
    fresh = {change.name for change in changes if any("-randkey" in command for command in change.commands)}
    return [
        Change(name, (f"cpw -randkey -keepold {name}",), _line(found[name]), f"{name}: a new key beside the old\n")
        for name in (*wanted.services, wanted.granting)
        if name in found and name not in fresh
    ]


def undone(
    before: Mapping[str, Principal], after: Mapping[str, Principal], wanted: Wanted, rotated: Iterable[Change]
) -> list[str]:
    """Return the principals that are not as they should be, though kadmin was told."""
    names = {change.name for change in rotated}
    same = [name for name in names if after[name].kvnos[-1:] == before[name].kvnos[-1:]]
    return sorted([*same, *(change.name for change in plan(after, wanted) if change.name not in names)])


def _removals(found: Mapping[str, Principal], names: Iterable[str]) -> list[Change]:
    return [Change(name, (f"delprinc -force {name}",), _line(found[name]), "") for name in names if name in found]


def _service(known: Principal | None, name: str, wanted: Wanted) -> Change | None:
    if known is None:
        return Change(name, (f"addprinc -randkey {name}",), "", f"{name}: a new key\n")
    if not known.kvnos:
        return Change(name, (f"cpw -randkey {name}",), _line(known), f"{name}: a new key\n")
    if len(known.kvnos) > 1 and known.keyed and datetime.now(UTC) - known.keyed >= wanted.old_after:
        return Change(name, (f"purgekeys {name}",), _line(known), f"{name}: key {known.kvnos[-1]}\n")
    return None


def _user(known: Principal | None, name: str, rule: str) -> Change | None:
    commands = []
    if known is None:
        commands.append(f"addprinc -nokey {name}")
    elif known.kvnos:
        commands.append(f"purgekeys -all {name}")
    if known is None or known.rule != rule:
        commands.append(f'setstr {name} {RULE} "{rule}"')
    if not commands:
        return None
    return Change(name, tuple(commands), _line(known) if known else "", _line(Principal(name, rule=rule)))


def _line(principal: Principal) -> str:
    keys = f"key {', '.join(map(str, principal.kvnos))}" if principal.kvnos else "no key"
    return f"{principal.name}: {keys}{f', certificate {principal.rule}' if principal.rule else ''}\n"
