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
  - A user has no key and so no password. Who has a certificate of the owner's CA with the subject C(O=ZONE, CN=USER),
    in this order, is him. It is for TLS clients and id-pkinit-KPClientAuth (RFC 4556), and has no KRB5PrincipalName.
  - The keytab is compared with the database key by key, and replaced in one step. Entries of other realms stay, but
    not those of a realm that the host had before.
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
    description:
      - Whether services and the ticket-granting service get new keys now, in every run that says so.
      - Tickets for the old keys stay good until they end; see O(old_after).
    type: bool
    default: false
  old_after:
    description:
      - How many seconds after the newest key the older ones are forgotten, by the next run; no less than the life of
        tickets, or sessions end. V(0) with O(rotate=false) ends them now.
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
  - module: btmm.fleet.lkdc_realm
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

- name: Give every service a new key; sessions and tickets go on
  btmm.fleet.lkdc_principal:
    directory: /etc/btmm/bob.members.example/kdc
    zone: bob.members.example
    name: imac.bob.members.example
    rotate: true
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
from ansible_collections.btmm.fleet.plugins.module_utils.key_module import diff_of, mend
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc import Kdc, LkdcError
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_keytab import Installed, describe
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_mint import Minted, mint
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_principals import Wanted

NO_REALM = "LKDC:SHA1.(not made yet)"


def wanted_by(params: dict[str, Any], realm: str, name: str) -> Wanted:
    """Return what the options ask for."""
    zone = krb5_names.check_name(params["zone"])
    return Wanted(
        realm,
        services=tuple(krb5_names.service_principals(params["services"], realm, name)),
        users={user: krb5_names.user_rule(user, zone) for user in params["users"]},
        exclusive=params["exclusive"],
        absent=params["state"] == "absent",
        rotate=params["rotate"],
        old_after=timedelta(seconds=params["old_after"]),
    )


def settle(module: AnsibleModule, kdc: Kdc) -> dict[str, Any]:
    """Bring database and keytab to the wanted state, or say what that would change."""
    params = module.params
    mode, name = octal(params["mode"]), krb5_names.check_name(params["name"])
    installed = Installed.read(Path(params["keytab"]))
    realm = kdc.realm()
    wanted = wanted_by(params, realm or NO_REALM, name)
    if realm:
        minted = mint(kdc, wanted, doing=not module.check_mode)
    elif wanted.absent or module.check_mode:
        minted = Minted(tuple(lkdc_principals.plan({}, wanted)), frozenset(), ())
    else:
        raise LkdcError(f"there is no realm in {kdc.directory}; make it with btmm.fleet.lkdc_realm first")
    merged = installed.merged(wanted.realm, name, minted.entries, minted.names)
    # A key that is only planned is none that could be compared.
    planned = module.check_mode and not wanted.absent and any(c.name in wanted.services for c in minted.changes)
    differs = planned or installed.differs(merged)
    diffs = []
    if minted.changes:
        before = "".join(change.before for change in minted.changes)
        after = "".join(change.after for change in minted.changes)
        diffs.append(diff_of(f"principals of {realm or kdc.directory}", before, after))
    if differs:
        before, after = describe(installed.entries), describe(merged)
        note = "keys that are yet to be made\n" if planned else "other keys than before\n" if after == before else ""
        diffs.append(diff_of(installed.path, before, after + note))
        if installed.damaged:
            module.warn(f"{installed.path} was damaged ({installed.damaged}); other realms' entries in it are lost")
        if not module.check_mode:
            installed.write(merged, mode, params["owner"], params["group"])
    if minted.fault:
        raise LkdcError(minted.fault)
    return {
        "changed": mend(module, installed.path, params["owner"], params["group"], mode) or bool(diffs),
        "realm": realm or "",
        "changed_principals": list(dict.fromkeys(change.name for change in minted.changes)),
        "keytab_changed": differs,
        "diff": diffs,
    }


def octal(mode: str) -> int:
    """Return a mode as a number."""
    try:
        return int(mode, 8)
    except ValueError:
        raise LkdcError(f"mode '{mode}' is not octal; write it as \"0600\"") from None


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
    try:
        result = settle(module, Kdc(Path(module.params["directory"])))
    except (LkdcError, krb5_names.InvalidPrincipal) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
