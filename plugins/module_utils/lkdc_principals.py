# SPDX-License-Identifier: GPL-3.0-or-later
"""What principals a Local KDC has, what it should have, and kadmin's commands that lead from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .lkdc import LkdcError, complaints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .lkdc import Kdc

RULE = "pkinit_cert_match"
# The realm's own, which nobody adds or removes.
_OWN = ("K/M", "kadmin/", "kiprop/", "krbtgt/")


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
        return self.name.startswith(_OWN)

    @property
    def is_user(self) -> bool:
        """Whether it is no service."""
        return "/" not in self.name


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be there: services by principal, users with their rules. ``exclusive``: and nothing else."""

    services: tuple[str, ...]
    users: Mapping[str, str]
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """kadmin's commands for one principal, and how it reads before and after."""

    name: str
    commands: tuple[str, ...]
    before: str
    after: str


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


def plan(found: Mapping[str, Principal], wanted: Wanted, old_after: timedelta) -> list[Change]:
    """Return what has to change; keys beside which a newer one has been for ``old_after`` are forgotten."""
    changes = [_service(found.get(name), name, old_after) for name in wanted.services]
    changes += [_user(found.get(name), name, rule) for name, rule in wanted.users.items()]
    if wanted.exclusive:
        listed = {*wanted.services, *wanted.users}
        changes += removals(found, [name for name, known in found.items() if name not in listed and not known.is_own])
    return [change for change in changes if change is not None]


def removals(found: Mapping[str, Principal], names: Iterable[str]) -> list[Change]:
    """Return what removes those of ``names`` that are there."""
    return [
        Change(name, (f"delprinc -force {name}",), _line(found[name]), "")
        for name in dict.fromkeys(names)
        if name in found
    ]


def rotations(found: Mapping[str, Principal], services: Iterable[str], changes: Iterable[Change]) -> list[Change]:
    """Return what gives the services new keys beside those they have, without those that ``changes`` give new ones."""
    fresh = {change.name for change in changes if any("-randkey" in command for command in change.commands)}
    return [
        Change(name, (f"cpw -randkey -keepold {name}",), _line(found[name]), f"{name}: a new key beside the old\n")
        for name in services
        if name in found and name not in fresh
    ]


def check_done(
    before: Mapping[str, Principal],
    after: Mapping[str, Principal],
    left: Iterable[Change],
    rotated: Iterable[Change],
    said: str,
) -> None:
    """Refuse when something is ``left`` to do, or was not ``rotated``, with kadmin's own words.

    Raises:
        LkdcError: naming the principals.
    """
    names = {change.name for change in rotated}
    failed = [name for name in names if after[name].kvnos[-1:] == before[name].kvnos[-1:]]
    failed += [change.name for change in left if change.name not in names]
    if failed:
        raise LkdcError(f"{', '.join(sorted(failed))} could not be changed: {complaints(said)}")


def _service(known: Principal | None, name: str, old_after: timedelta) -> Change | None:
    if known is None:
        return Change(name, (f"addprinc -randkey {name}",), "", f"{name}: a new key\n")
    if not known.kvnos:
        return Change(name, (f"cpw -randkey {name}",), _line(known), f"{name}: a new key\n")
    if len(known.kvnos) > 1 and known.keyed and datetime.now(UTC) - known.keyed >= old_after:
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
