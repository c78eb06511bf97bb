# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; on the zone host it runs the module update_policy."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: zone_grants
short_description: Give hosts of the fleet their TSIG key and grants on the zone host
version_added: 0.1.0
description:
  - Runs for the zone host (delegate to it from a play of the fleet). For all given hosts at once, it derives their TSIG
    keys from the owner's store and their grants from the records that they are going to publish, and hands both to
    M(btmm.fleet.update_policy).
  - What a host publishes follows from its inventory variables C(btmm_label), C(btmm_title), C(btmm_model) and
    C(btmm_services), and from its address, C(identity_ula).
  - A host that cannot have its grants is named in RV(refused); the others get theirs.
options:
  zone: {description: The owner's zone. Default C(btmm_zone)., type: str}
  owner_dir:
    description: Folder of the owner's state. Default C(btmm_owner_dir), or C(.btmm) beside the inventory.
    type: path
  passphrase: {description: Passphrase of the owner's secrets. Default C(btmm_owner_passphrase)., type: str}
  hosts: {description: Inventory names of the hosts of this run., type: list, elements: str, default: []}
  labels:
    description: Labels of secondary servers, which get a key and nothing to write; with O(state=absent), of who goes.
    type: list
    elements: str
    default: []
  retire:
    description: Whether former keys of those that are given go; see M(btmm.fleet.update_policy).
    type: bool
    default: false
  directory: {description: Where the files are on the zone host., type: path, default: /etc/bind/btmm}
  state:
    description: Whether the hosts should have keys and grants.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode: {support: full, description: Without an owner's store, stand-in secrets and prefix are planned with.}
  diff_mode: {support: full, description: A diff per file; of secrets only whether they changed.}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Give the hosts of this play their keys and grants
  btmm.fleet.zone_grants:
    hosts: "{{ ansible_play_hosts }}"
  delegate_to: "{{ groups.btmm_zone_hosts | first }}"
  run_once: true
"""

RETURN = r"""
refused:
  description: For each host (inventory name) that got nothing, the sentence that says why.
  returned: always
  type: dict
zone:
  description: The zone's name in lower case, without final dot.
  returned: always
  type: str
reverse_zone:
  description: The ip6.arpa zone of the prefix, without final dot.
  returned: always
  type: str
key_names:
  description: The name of the TSIG key of each label.
  returned: always
  type: dict
prefix:
  description: The fleet's /48.
  returned: always
  type: str
changed_files:
  description: Files on the zone host that were, or would be, written or removed.
  returned: always
  type: list
  elements: str
"""
