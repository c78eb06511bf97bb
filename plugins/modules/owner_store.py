# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; it runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owner_store
short_description: The owner's CA, zone secret and prefix on the controller
version_added: 0.1.0
description:
  - Makes, once per zone, the owner's CA (ECDSA P-256, can name hosts of the zone only), the zone secret that TSIG keys
    are derived from, and the zone's /48 (RFC 4193 section 3.2.2), in a folder on the controller.
  - The CA key and the zone secret are encrypted with the owner's passphrase (scrypt). The folder appears whole or not
    at all.
  - Nothing is done on the managed host. Run it once per play (C(run_once)).
options:
  zone:
    description: The owner's zone. Default C(btmm_zone).
    type: str
  owner_dir:
    description: Folder on the controller. Default C(btmm_owner_dir), or C(.btmm) beside the inventory.
    type: path
  passphrase:
    description: Passphrase of the owner's secrets, 8 characters or more. Default C(btmm_owner_passphrase).
    type: str
  state:
    description:
      - V(present) makes what is missing and checks the passphrase.
      - V(absent) removes the records of the one host that O(forget) names; its TSIG key changes for good. The owner's
        own secrets are never removed.
    type: str
    choices: [present, absent]
    default: present
  forget:
    description: The label of a host that left the fleet.
    type: str
  rotate:
    description:
      - Labels whose TSIG keys are replaced, C(_admin) for the owner's own; always a change. Former keys are valid until
        M(btmm.fleet.zone_grants) is given O(btmm.fleet.zone_grants#module:retire).
    type: list
    elements: str
    default: []
  rotate_hosts:
    description: Inventory names of hosts whose TSIG keys are replaced, too.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Without an existing store, a stand-in prefix and CA are returned so that what follows can be planned.
  diff_mode:
    support: full
    description: Secrets are never shown.
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Make the owner's CA, secret and prefix
  btmm.fleet.owner_store:
    zone: bob.members.example
    passphrase: "{{ vault_owner_passphrase }}"
  run_once: true
  register: owner

- name: Remove a lost host from the owner's records
  btmm.fleet.owner_store:
    state: absent
    forget: imac
  run_once: true
"""

RETURN = r"""
directory:
  description: The zone's folder on the controller.
  returned: state is present
  type: str
  sample: /home/bob/fleet/.btmm/bob.members.example
prefix:
  description: The zone's /48.
  returned: state is present
  type: str
  sample: fd46:9f2e:12f9::/48
ca_certificate:
  description: The owner CA, PEM.
  returned: state is present
  type: str
crl:
  description: The list of what the owner revoked (RFC 5280 section 5), PEM.
  returned: state is present
  type: str
ca_fingerprint:
  description: SHA-256 over the DER certificate, hex.
  returned: state is present
  type: str
"""
