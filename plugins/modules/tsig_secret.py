# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; the host sees only M(btmm.fleet.file_set)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tsig_secret
short_description: Install a host's TSIG secret
version_added: 0.1.0
description:
  - Derives the secret of the host's TSIG key on the controller, from the owner's zone secret, and installs it on the
    host, readable by root alone. It never shows in logs, arguments or diffs.
options:
  dest:
    description: Path on the host; its folder is made.
    type: path
    required: true
  label:
    description: The host's label. Default C(btmm_label), or the short inventory name.
    type: str
  zone:
    description: The owner's zone. Default C(btmm_zone).
    type: str
  owner_dir:
    description: Folder on the controller. Default C(btmm_owner_dir), or C(.btmm) beside the inventory.
    type: path
  passphrase:
    description: Passphrase of the owner's secrets. Default C(btmm_owner_passphrase).
    type: str
attributes:
  check_mode:
    support: full
    description: Without an owner store, a stand-in is compared.
  diff_mode:
    support: full
    description: Tells that the secret differs, never what it is.
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Install the host's key to the zone
  btmm.fleet.tsig_secret:
    zone: bob.members.example
    label: imac
    dest: /etc/btmm/bob.members.example/tsig.secret
    passphrase: "{{ vault_owner_passphrase }}"
"""

RETURN = r"""
key_name:
  description: The key's name.
  returned: always
  type: str
  sample: imac.bob.members.example.
changed_files:
  description: The secret's path when it was, or would be, written.
  returned: always
  type: list
  elements: str
"""
