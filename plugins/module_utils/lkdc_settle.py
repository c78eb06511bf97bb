# SPDX-License-Identifier: GPL-3.0-or-later
"""A Local KDC's principals and the host's keytab as a task asks for them: what the modules have in common."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import krb5_names, lkdc_principals
from .key_module import diff_of, mend
from .lkdc import LkdcError
from .lkdc_keytab import Installed, describe
from .lkdc_mint import Minted, mint
from .lkdc_principals import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible.module_utils.basic import AnsibleModule

    from .keytab import Entry
    from .lkdc import Kdc

PRINCIPAL_OPTIONS: dict[str, dict[str, Any]] = {
    "zone": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "services": {"type": "list", "elements": "str", "default": list(krb5_names.SERVICES)},
    "users": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "rotate": {"type": "bool", "default": False},
    "old_after": {"type": "int", "default": 86400},
    "keytab": {"type": "path", "default": "/etc/krb5.keytab", "no_log": False},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0600"},
}
# What the module lkdc_realm and its action take alike.
REALM_OPTIONS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "data": {"type": "path", "required": True},
    "listen": {"type": "list", "elements": "str", "required": True},
    "port": {"type": "int", "default": 88},
    "max_life": {"type": "str", "default": "10h"},
    "max_renewable_life": {"type": "str", "default": "7d"},
    "principals": {"type": "dict", "options": PRINCIPAL_OPTIONS},
}
UNASKED: dict[str, Any] = {"changed": False, "changed_principals": [], "keytab_changed": False, "diff": []}
NO_REALM = "LKDC:SHA1.(not made yet)"


def wanted_by(asked: Mapping[str, Any], realm: str = NO_REALM, *, absent: bool = False) -> Wanted:
    """Return what the options ask for.

    Raises:
        InvalidPrincipal: a name among them is none.
    """
    zone, name = (krb5_names.check_name(asked[option]) for option in ("zone", "name"))
    return Wanted(
        realm,
        services=tuple(krb5_names.service_principals(asked["services"], realm, name)),
        users={user: krb5_names.user_rule(user, zone) for user in asked["users"]},
        exclusive=asked["exclusive"],
        absent=absent,
        rotate=asked["rotate"],
        old_after=timedelta(seconds=asked["old_after"]),
    )


def settle(module: AnsibleModule, kdc: Kdc, asked: Mapping[str, Any], *, absent: bool = False) -> dict[str, Any]:
    """Bring database and keytab to the wanted state, or say what that would change; return the module's result.

    Args:
        module: says whether this is check mode.
        kdc: the realm's.
        asked: as PRINCIPAL_OPTIONS has it.
        absent: it is these services and users that shall not be there.

    Raises:
        LkdcError: there is no realm, or a file or the database cannot be used.
        InvalidPrincipal: a name among the options is none.
    """
    mode = octal(asked["mode"])
    installed = Installed.read(Path(asked["keytab"]))
    realm = kdc.realm()
    wanted = wanted_by(asked, realm or NO_REALM, absent=absent)
    if realm and kdc.has_database():
        minted = mint(kdc, wanted, doing=not module.check_mode)
    elif absent or module.check_mode:
        minted = Minted(tuple(lkdc_principals.plan({}, wanted)), frozenset(), ())
    else:
        raise LkdcError(f"there is no realm in {kdc.directory}; make it with btmm.fleet.lkdc_realm first")
    merged = installed.merged(wanted.realm, krb5_names.check_name(asked["name"]), minted.entries, minted.names)
    # A key that is only planned is none that could be compared.
    planned = module.check_mode and not absent and any(c.name in wanted.services for c in minted.changes)
    diffs = []
    if minted.changes:
        before = "".join(change.before for change in minted.changes)
        after = "".join(change.after for change in minted.changes)
        diffs.append(diff_of(f"principals of {realm or kdc.directory}", before, after))
    followed = _follow(module, installed, merged, asked, planned=planned)
    diffs += followed
    if minted.fault:
        raise LkdcError(minted.fault)
    return {
        "changed": mend(module, installed.path, asked["owner"], asked["group"], mode) or bool(diffs),
        "realm": realm or "",
        "changed_principals": list(dict.fromkeys(change.name for change in minted.changes)),
        "keytab_changed": bool(followed),
        "diff": diffs,
    }


def forget(module: AnsibleModule, kdc: Kdc, asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Take the keys of a realm that is to go from the keytab; return the diffs.

    Its database goes, too, and is not asked: a damaged one is a reason to remove a realm, and shall not prevent it.

    Raises:
        LkdcError: the keytab cannot be used.
        InvalidPrincipal: a name among the options is none.
    """
    try:
        realm = kdc.realm()
    except LkdcError:
        realm = None
    installed = Installed.read(Path(asked["keytab"]))
    merged = installed.merged(realm or NO_REALM, krb5_names.check_name(asked["name"]), (), ())
    return _follow(module, installed, merged, asked)


def _follow(
    module: AnsibleModule, installed: Installed, entries: Sequence[Entry], asked: Mapping[str, Any], *,
    planned: bool = False,
) -> list[dict[str, str]]:  # fmt: skip
    """Have the keytab hold the entries, and some that are only planned; return its diff, if it differs."""
    if not planned and not installed.differs(entries):
        return []
    before, after = describe(installed.entries), describe(entries)
    note = "keys that are yet to be made\n" if planned else "other keys than before\n" if after == before else ""
    if installed.damaged:
        module.warn(f"{installed.path} was damaged ({installed.damaged}); other realms' entries in it are lost")
    if not module.check_mode:
        installed.write(entries, octal(asked["mode"]), asked["owner"], asked["group"])
    return [diff_of(installed.path, before, after + note)]


def octal(mode: str) -> int:
    """Return a mode as a number.

    Raises:
        LkdcError: it is none.
    """
    try:
        return int(mode, 8)
    except ValueError:
        raise LkdcError(f"mode '{mode}' is not octal; write it as \"0600\"") from None
