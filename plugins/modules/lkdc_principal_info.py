# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's own realm and keytab hold, without any key."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lkdc_principal_info
short_description: Services and users of a host's own Kerberos realm
version_added: 0.1.0
description:
  - Reads the database of a realm that M(btmm.fleet.lkdc_realm) made, and the host's keytab. No key is shown.
options:
  directory:
    description: The realm's folder, as in M(btmm.fleet.lkdc_realm).
    type: path
    required: true
  keytab:
    description: The keytab.
    type: path
    default: /etc/krb5.keytab
attributes:
  check_mode: {support: full, description: Nothing is ever written.}
  diff_mode: {support: none, description: Nothing changes.}
seealso:
  - module: btmm.fleet.lkdc_principal
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: See who can log in
  btmm.fleet.lkdc_principal_info:
    directory: /etc/btmm/bob.members.example/kdc
  register: lkdc
"""

RETURN = r"""
realm:
  description: The realm; empty when there is none.
  returned: success
  type: str
principals:
  description: All but the realm's own, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: "Name, without realm.", type: str}
    kvnos: {description: Versions of its keys; none for a user., type: list, elements: int}
    enctypes: {description: Their encryption types., type: list, elements: str}
    keyed: {description: "When it last got a key or was made, ISO 8601 in UTC.", type: str}
    rule: {description: "What a certificate must say to be this user (pkinit_cert_match).", type: str}
keytab:
  description: The realm's entries in the keytab; empty when it is damaged.
  returned: success
  type: list
  elements: dict
  contains:
    principal: {description: "Name, without realm.", type: str}
    kvno: {description: Version of the key., type: int}
    enctype: {description: Its encryption type by number (RFC 3961)., type: int}
keytab_damaged:
  description: Why the keytab cannot be read; empty when it can, or is not there.
  returned: success
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import lkdc_principals
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc import Kdc, LkdcError
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_keytab import Installed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "keytab": {"type": "path", "default": "/etc/krb5.keytab", "no_log": False},
        },
        supports_check_mode=True,
    )
    kdc = Kdc(Path(module.params["directory"]))
    try:
        realm = kdc.realm()
        found = lkdc_principals.read(kdc, realm) if realm else {}
        installed = Installed.read(Path(module.params["keytab"]))
    except LkdcError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        realm=realm or "",
        principals=[
            {
                "name": known.name,
                "kvnos": list(known.kvnos),
                "enctypes": list(known.enctypes),
                "keyed": known.keyed.isoformat() if known.keyed else "",
                "rule": known.rule,
            }
            for known in sorted(found.values(), key=lambda known: known.name)
            if not known.is_own
        ],
        keytab=[
            {"principal": entry.principal, "kvno": entry.kvno, "enctype": entry.enctype}
            for entry in installed.entries
            if entry.realm == realm
        ],
        keytab_damaged=installed.damaged,
    )


if __name__ == "__main__":
    main()
