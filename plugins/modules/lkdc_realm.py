# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of its Kerberos realm: anchor, key, configuration, database, and the certificate that was signed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lkdc_realm
short_description: A Kerberos realm of a host's own (Local KDC)
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.issuing]
description:
  - An ECDSA P-256 key and a self-signed certificate, the anchor, are made on the host. The realm is C(LKDC:SHA1.) and
    SHA-1 over the anchor, so nobody has to hand out names. The anchor lives as long as the realm.
  - The KDC's own certificate is signed on the controller with the owner's CA, for the same key. It names C(LABEL.ZONE)
    and C(krbtgt/REALM@REALM), which is what a client of MIT krb5 checks. It is renewed as M(btmm.fleet.host_identity)
    renews a host's; a KDC has to be restarted then, as after each change of the list of what the owner revoked.
  - A host gets a certificate for the realm of its own anchor only.
  - Writes C(kdc.conf), and makes database and stash once. Nobody knows the master password.
  - Needs MIT krb5's C(kdb5_util) (Debian's C(krb5-kdc)).
options:
  directory:
    description:
      - Folder of C(anchor.pem), C(key.pem), C(kdc.pem), C(ca.pem), C(crl.pem) and C(kdc.conf). No colon in it, since
        C(KRB5_CONFIG) is a list.
    type: path
    required: true
  data:
    description: Folder of the database.
    type: path
    required: true
  listen:
    description: Addresses at which the KDC serves, UDP and TCP.
    type: list
    elements: str
    required: true
  port:
    description: Port at which it serves.
    type: int
    default: 88
  max_life:
    description: Life of tickets, a duration of MIT krb5. Counts for principals that are made later.
    type: str
    default: 10h
  max_renewable_life:
    description: How long tickets can be renewed.
    type: str
    default: 7d
  principals:
    description:
      - Services, users and the keytab, which are brought to the wanted state in the same pass. Each option is that of
        M(btmm.fleet.lkdc_principal). With O(state=absent) only the keys of this realm are taken from the keytab.
    type: dict
    suboptions:
      zone: {description: The owner's zone., type: str, required: true}
      name: {description: The host's name in the zone., type: str, required: true}
      services: {description: Services., type: list, elements: str, default: [host, cifs, afpserver, vnc, HTTP, nfs]}
      users: {description: Users., type: list, elements: str, default: []}
      exclusive: {description: Whether others are removed., type: bool, default: false}
      rotate: {description: Whether there are new keys., type: bool, default: false}
      old_after: {description: Seconds after which keys that were replaced go., type: int, default: 86400}
      keytab: {description: The keytab., type: path, default: /etc/krb5.keytab}
      owner: {description: Owner of the keytab., type: str, default: root}
      group: {description: Group of the keytab., type: str, default: root}
      mode: {description: Mode of the keytab., type: str, default: "0600"}
  state:
    description: V(absent) removes the realm with its database. Its clients need another one afterwards.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Without a key, the realm in the result is a stand-in.
  diff_mode:
    support: full
    description: Certificates are shown as fields; keys never.
seealso:
  - module: btmm.fleet.lkdc_principal
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Give the host a realm
  btmm.fleet.lkdc_realm:
    directory: /etc/btmm/bob.members.example/kdc
    data: /var/lib/btmm/bob.members.example/kdc
    listen: ["{{ identity.ula }}"]
    principals: {zone: bob.members.example, name: imac.bob.members.example, users: [bob, alice], exclusive: true}
  register: lkdc
"""

RETURN = r"""
realm:
  description: The realm.
  returned: state is present
  type: str
  sample: LKDC:SHA1.38CBF9F6F585901BB985CD43BEEFCD64B5FB35D6
name:
  description: The KDC's name in the zone, without final dot.
  returned: state is present
  type: str
  sample: imac.bob.members.example
certificate:
  description: The KDC's certificate, PEM.
  returned: state is present
  type: str
fingerprint:
  description: SHA-256 over the DER certificate, hex.
  returned: state is present
  type: str
serial:
  description: The certificate's serial number, hex.
  returned: state is present
  type: str
not_after:
  description: End of the certificate's life, ISO 8601 in UTC.
  returned: state is present
  type: str
reason:
  description: Why a certificate was (in check mode, would be) made; empty when it was not.
  returned: state is present
  type: str
realm_changed:
  description: Whether anything was (would be) that a KDC reads at its start only, so not for principals and keytab.
  returned: state is present
  type: bool
changed_principals:
  {description: As M(btmm.fleet.lkdc_principal) has it., returned: state is present, type: list, elements: str}
keytab_changed: {description: As M(btmm.fleet.lkdc_principal) has it., returned: state is present, type: bool}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import lkdc_settle
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic
from ansible_collections.btmm.fleet.plugins.module_utils.key_module import (
    GIVEN,
    diff_of,
    install_given,
    mend_modes,
    remove,
    shown,
)
from ansible_collections.btmm.fleet.plugins.module_utils.keyfiles import PUBLIC_MODE, KeyFileError, read
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import InvalidPrincipal
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc import Kdc, LkdcError, Settings, database_files

UNKNOWN = "LKDC:SHA1.(its name follows from the key)"


def check_whole(kdc: Kdc, data: Path) -> None:
    """Refuse a realm of which the part is missing that nobody can make again."""
    wrong = ""
    if kdc.anchor.exists() and not kdc.key.exists():
        wrong = f"{kdc.anchor} is there, but its key {kdc.key} is not"
    elif (data / "principal").exists() and not kdc.anchor.exists():
        wrong = f"there is a database in {data}, but {kdc.anchor}, which names its realm, is not there"
    elif (data / "principal").exists() and not (data / "stash").exists():
        wrong = f"there is a database in {data}, but the key to it, {data / 'stash'}, is not there"
    if wrong:
        raise LkdcError(f"{wrong}; restore it, or remove the realm (state: absent) to get a new one")


def present(module: AnsibleModule, kdc: Kdc, data: Path) -> dict[str, object]:
    """Make what is missing, install what was given, mend owners and modes."""
    check_whole(kdc, data)
    settings = Settings(
        tuple(module.params["listen"]), module.params["port"], module.params["max_life"],
        module.params["max_renewable_life"],
    )  # fmt: skip
    # A wrong option is told before anything is made.
    kdc.conf_text(UNKNOWN, data, settings)
    if principals := module.params["principals"]:
        lkdc_settle.wanted_by(principals)
    diffs = []
    if not kdc.key.exists():
        diffs.append(diff_of(kdc.key, "", kdc.files.new_key))
        if not module.check_mode:
            kdc.files.make_key()
    if not kdc.anchor.exists():
        diffs.append(diff_of(kdc.anchor, "", "self-signed certificate that names the realm\n"))
        if not module.check_mode:
            kdc.make_anchor()
    realm = kdc.realm()
    before, after = read(kdc.conf), kdc.conf_text(realm or UNKNOWN, data, settings)
    if before != after:
        diffs.append(diff_of(kdc.conf, before, after))
        if not module.check_mode:
            write_atomic(kdc.conf, after.encode(), PUBLIC_MODE)
    if not (data / "principal").exists():
        diffs.append(diff_of(data / "principal", "", "database of the realm\n"))
        if realm and not module.check_mode:
            kdc.create(realm, data)
    installed = install_given(module, kdc.files)
    mended = mend_modes(module, kdc.files, {kdc.anchor: PUBLIC_MODE, kdc.conf: PUBLIC_MODE})
    changed = bool(diffs) or installed or mended
    minted = lkdc_settle.settle(module, kdc, principals) if principals else lkdc_settle.UNASKED
    return {
        "changed": changed or minted["changed"],
        "realm_changed": changed,
        "changed_principals": minted["changed_principals"],
        "keytab_changed": minted["keytab_changed"],
        "diff": diffs + minted["diff"],
        "realm": realm,
        "anchor": read(kdc.anchor),
        **shown(kdc.files),
    }


def absent(module: AnsibleModule, kdc: Kdc, data: Path) -> dict[str, object]:
    """Take the realm from the keytab, remove the files, then the two folders if nothing else is in them."""
    diffs = lkdc_settle.forget(module, kdc, module.params["principals"]) if module.params["principals"] else []
    diffs += remove(module, (*database_files(data), *kdc.files.modes(), kdc.conf, kdc.anchor))
    gone = {Path(diff["before_header"]) for diff in diffs}
    for folder in (data, kdc.directory):
        if folder.is_dir() and gone.issuperset(folder.iterdir()):
            diffs.append(diff_of(folder, "present\n", ""))
            if not module.check_mode:
                folder.rmdir()
    return {"changed": bool(diffs), "diff": diffs}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **lkdc_settle.REALM_OPTIONS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **GIVEN,
        },
        supports_check_mode=True,
    )
    work = present if module.params["state"] == "present" else absent
    try:
        module.exit_json(**work(module, Kdc(Path(module.params["directory"])), Path(module.params["data"])))
    except (KeyFileError, LkdcError, InvalidPrincipal) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the realm's files cannot be written ({error}); mend the folder or the disk")


if __name__ == "__main__":
    main()
