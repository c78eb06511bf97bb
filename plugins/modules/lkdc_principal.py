# SPDX-License-Identifier: GPL-3.0-or-later
"""The principals of a host's own realm, and the host's keytab."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lkdc_principal
short_description: Services and users of a host's own Kerberos realm, and its keytab
version_added: 0.1.0
description:
  - Brings all services and users of a realm that M(btmm.fleet.lkdc_realm) made to the wanted state in one task.
  - A service has two principals, C(svc/REALM) and C(svc/NAME), with random keys; the keytab has the same keys.
  - A user has no key and so no password. Who has a certificate of the owner's CA with C(O=ZONE) and C(CN=USER) is him.
  - The keytab is compared with the database key by key, and replaced in one step. Entries of other realms stay.
  - Keys that were replaced are forgotten by a later run, see O(old_after).
options:
  directory:
    description: The realm's folder, as in M(btmm.fleet.lkdc_realm).
    type: path
    required: true
  zone:
    description: The owner's zone; it is in the users' certificates.
    type: str
    required: true
  name:
    description: The host's name in the zone.
    type: str
    required: true
  services:
    description: Services, as their clients write them.
    type: list
    elements: str
    default: [host, cifs, afpserver, vnc, HTTP, nfs]
  users:
    description: Users; each is the user of that name on the host.
    type: list
    elements: str
    default: []
  exclusive:
    description: Whether other services and users are removed.
    type: bool
    default: false
  rotate:
    description: Whether the services get new keys now. Tickets for the old ones stay good until O(old_after).
    type: bool
    default: false
  old_after:
    description: After how many seconds a key that was replaced is forgotten; no less than the life of tickets.
    type: int
    default: 86400
  keytab:
    description: The keytab.
    type: path
    default: /etc/krb5.keytab
  owner:
    description: Owner of the keytab.
    type: str
    default: root
  group:
    description: Group of the keytab.
    type: str
    default: root
  mode:
    description: Mode of the keytab.
    type: str
    default: "0600"
  state:
    description: V(absent) removes the services and users, and their keys from the keytab.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: The database is not written.
  diff_mode:
    support: full
    description: Keys are shown by their versions only.
seealso:
  - module: btmm.fleet.lkdc_principal_info
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Mint the host's services, and let two users in
  btmm.fleet.lkdc_principal:
    directory: /etc/btmm/bob.members.example/kdc
    zone: bob.members.example
    name: imac.bob.members.example
    users: [bob, alice]
    exclusive: true
"""

RETURN = r"""
realm:
  description: The realm; empty when there is none yet (check mode).
  returned: success
  type: str
changed_principals:
  description: Principals that were, or would be, made, changed or removed; without realm.
  returned: success
  type: list
  elements: str
keytab_changed:
  description: Whether the keytab was, or would be, written.
  returned: success
  type: bool
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import krb5_names, lkdc_principals
from ansible_collections.btmm.fleet.plugins.module_utils.key_module import diff_of
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc import Kdc, LkdcError
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_keytab import Export, Installed, describe
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_principals import Change, Principal, Wanted

NO_REALM = "LKDC:SHA1.(not made yet)"


def wanted_by(params: dict[str, Any], realm: str) -> Wanted:
    """Return what the options ask for."""
    zone, name = (params[option].lower().removesuffix(".") for option in ("zone", "name"))
    services = krb5_names.service_principals(params["services"], realm, name)
    users = {user: krb5_names.user_rule(user, zone) for user in params["users"]}
    return Wanted(tuple(dict.fromkeys(services)), users, params["exclusive"])


def planned(params: dict[str, Any], found: dict[str, Principal], wanted: Wanted) -> list[Change]:
    """Return the changes that are due, without rotation."""
    if params["state"] == "absent":
        return lkdc_principals.removals(found, [*wanted.services, *wanted.users])
    return lkdc_principals.plan(found, wanted, timedelta(seconds=params["old_after"]))


def settle(module: AnsibleModule, kdc: Kdc, realm: str) -> dict[str, Any]:
    """Bring database and keytab to the wanted state, or say what that would change."""
    params = module.params
    wanted = wanted_by(params, realm)
    found = lkdc_principals.read(kdc, realm)
    changes = planned(params, found, wanted)
    rotated = []
    if params["rotate"] and params["state"] == "present":
        rotated = lkdc_principals.rotations(found, wanted.services, changes)
    installed = Installed.read(Path(params["keytab"]))
    doing = [] if module.check_mode else [command for change in changes + rotated for command in change.commands]
    known = found
    with Export() as export:
        # In check mode only what is there can be exported: what would be made has no key yet.
        exporting = [name for name in wanted.services if name in found or doing] if params["state"] == "present" else []
        # One process for both, so that a service has its new key milliseconds after the KDC.
        said = kdc.kadmin(realm, doing + export.commands(exporting))
        if doing:
            known = lkdc_principals.read(kdc, realm)
            again = planned(params, known, wanted)
            lkdc_principals.check_done(found, known, again, rotated, said)
        entries = export.entries(exporting, said)
    merged = installed.merged(realm, entries, wanted.services, known)
    differs = installed.differs(merged) or (
        module.check_mode and any("/" in change.name for change in changes + rotated)
    )
    diffs = [diff_of(kdc.directory / change.name, change.before, change.after) for change in changes + rotated]
    if differs:
        diffs.append(diff_of(installed.path, describe(installed.entries), describe(merged)))
        if installed.damaged:
            module.warn(f"{installed.path} was damaged ({installed.damaged}); other realms' entries in it are lost")
        if not module.check_mode:
            installed.write(merged, octal(params["mode"]), params["owner"], params["group"])
    return {
        "changed": mended(module, installed.path) or bool(diffs),
        "realm": realm,
        "changed_principals": list(dict.fromkeys(change.name for change in changes + rotated)),
        "keytab_changed": differs,
        "diff": diffs,
    }


def mended(module: AnsibleModule, path: Path) -> bool:
    """Bring the keytab's owner and mode to the wanted state; return whether that changed (or would change) them."""
    if not path.exists():
        return False
    changed = module.set_owner_if_different(str(path), module.params["owner"], changed=False)
    changed = module.set_group_if_different(str(path), module.params["group"], changed)
    return bool(module.set_mode_if_different(str(path), octal(module.params["mode"]), changed))


def octal(mode: str) -> int:
    """Return a mode as a number."""
    try:
        return int(mode, 8)
    except ValueError:
        raise LkdcError(f"mode '{mode}' is not octal; write it as \"0600\"") from None


def without_realm(module: AnsibleModule, kdc: Kdc) -> dict[str, Any]:
    """Plan for a realm that a run in earnest would make first; with none to remove, all is done."""
    changes = (
        [] if module.params["state"] == "absent" else planned(module.params, {}, wanted_by(module.params, NO_REALM))
    )
    if changes and not module.check_mode:
        raise LkdcError(f"there is no realm in {kdc.directory}; make it with btmm.fleet.lkdc_realm first")
    return {
        "changed": bool(changes),
        "realm": "",
        "changed_principals": [change.name for change in changes],
        "keytab_changed": bool(changes),
        "diff": [diff_of(kdc.directory / change.name, "", change.after) for change in changes],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
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
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    kdc = Kdc(Path(module.params["directory"]))
    try:
        realm = kdc.realm()
        module.exit_json(**(settle(module, kdc, realm) if realm else without_realm(module, kdc)))
    except (LkdcError, krb5_names.InvalidPrincipal) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
