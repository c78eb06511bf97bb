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

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import InvalidPrincipal
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc import Kdc, LkdcError
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_settle import PRINCIPAL_OPTIONS, settle


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            **PRINCIPAL_OPTIONS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    kdc, is_absent = Kdc(Path(module.params["directory"])), module.params["state"] == "absent"
    try:
        result = settle(module, kdc, module.params, absent=is_absent)
    except (LkdcError, InvalidPrincipal) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
