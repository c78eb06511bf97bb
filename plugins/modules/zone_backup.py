# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; on the zone host it runs the module zone_archive."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: zone_backup
short_description: Back up the zone, its keys and the owner's state into one encrypted file, or restore them
version_added: 0.1.0
description:
  - O(state=saved) reads zones, TSIG keys, grants and signing keys from the zone's primary and the owner's state from
    the controller, and writes all of it to one file on the controller, encrypted with the owner's passphrase (scrypt,
    AES-256-GCM).
  - O(state=restored) puts it back. The owner's state is restored when there is none; one that is there must be the same
    owner's, and stays, since it may know of hosts that came later.
  - Hosts go on with the keys that they have.
options:
  file: {description: The backup on the controller., type: path, required: true}
  zone: {description: The owner's zone. Default C(btmm_zone)., type: str}
  owner_dir:
    description: Folder of the owner's state. Default C(btmm_owner_dir), or C(.btmm) beside the inventory.
    type: path
  passphrase: {description: Passphrase of the owner's secrets. Default C(btmm_owner_passphrase)., type: str}
  forward_path: {description: File of the zone on the zone host., type: path, default: /var/lib/bind/btmm-forward.db}
  reverse_path: {description: File of its ip6.arpa., type: path, default: /var/lib/bind/btmm-reverse.db}
  directories:
    description: Folders on the zone host that belong to the zone.
    type: list
    elements: path
    default: [/etc/bind/btmm, /var/lib/bind/btmm-signing]
  state:
    description: Whether to make the backup, or to put it back.
    type: str
    choices: [saved, restored]
    default: saved
attributes:
  check_mode: {support: full, description: Says whether the backup, or the host, would change.}
  diff_mode: {support: none, description: What changes is secret for the most part.}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Back up the zone
  btmm.fleet.zone_backup:
    file: /srv/backup/bob.members.example.sealed
"""

RETURN = r"""
file:
  description: The backup's path.
  returned: always
  type: str
digest:
  description: SHA-256 over the zone host's part, hex.
  returned: always
  type: str
"""
