# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; it runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: revocation
short_description: Revoke certificates, and sign the owner's list of those that are (RFC 5280 section 5)
version_added: 0.1.0
description:
  - Revokes what was issued to hosts, to users, or by serial number, also former certificates that have not ended yet,
    and signs a new list. The playbook C(revoke.yml) brings it to the fleet.
  - A host is forgotten as by M(btmm.fleet.owner_store) with V(absent), so that its TSIG key dies, too.
  - Nothing is done on the managed host. Run it once per play (C(run_once)).
options:
  zone: {description: The owner's zone. Default C(btmm_zone)., type: str}
  owner_dir:
    description: Folder on the controller. Default C(btmm_owner_dir), or C(.btmm) beside the inventory.
    type: path
  passphrase: {description: Passphrase of the owner's secrets. Default C(btmm_owner_passphrase)., type: str}
  hosts:
    description: Labels of hosts; all certificates there are meant, also those of the KDC, the users and a zone server.
    type: list
    elements: str
    default: []
  users:
    description: Names of users; their certificates on all hosts are meant.
    type: list
    elements: str
    default: []
  serials:
    description: Serial numbers of certificates in hex, as C(openssl x509 -serial) shows them.
    type: list
    elements: str
    default: []
  reason:
    description:
      - Why. With V(key_compromise) the same key never gets a certificate again, since others may have it.
    type: str
    choices: [key_compromise, superseded, cessation_of_operation]
    default: key_compromise
attributes:
  check_mode: {support: full, description: "The list in the result is signed, but kept nowhere."}
  diff_mode: {support: full, description: Shows serial numbers and whose they are.}
seealso:
  - module: btmm.fleet.owner_store
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Revoke the certificates of a stolen host, and those of the user who had it
  btmm.fleet.revocation:
    hosts: [macbook]
    users: [alice]
  run_once: true
  register: revoked
"""

RETURN = r"""
revoked:
  description: Serial number, label and role of each certificate that was (in check mode, would be) revoked.
  returned: always
  type: list
  elements: dict
  sample: [{serial: 3f0c, label: macbook, role: host}]
crl:
  description: The list in force, PEM.
  returned: always
  type: str
"""
