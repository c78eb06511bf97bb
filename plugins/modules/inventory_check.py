# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; it runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: inventory_check
short_description: Check what the inventory says about the hosts of a group
version_added: 0.1.0
description:
  - Checks zone, label, title, model and services of each host by the rules that its DNS records are made with, and that
    no two hosts of the group have the same label or title.
  - Runs on the controller, once for the whole group (C(run_once)); no host is asked. It does not fail, so that a fault
    can stop the host it is about and no other.
  - Reads the inventory variables C(btmm_zone), C(btmm_label), C(btmm_title), C(btmm_model) and C(btmm_services).
options:
  group:
    description: The inventory group whose hosts share the zone.
    type: str
    default: btmm_fleet
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Check the inventory
  btmm.fleet.inventory_check:
  run_once: true
  register: inventory

- name: Stop a host that is described wrongly
  ansible.builtin.assert:
    that: inventory_hostname not in inventory.faults
    fail_msg: "{{ inventory.faults[inventory_hostname] | default('') }}"
    quiet: true
"""

RETURN = r"""
faults:
  description: Host name to one sentence with host, cause and fix, for each host that is described wrongly.
  returned: always
  type: dict
  sample:
    mini: "mini: host 'imac' has the label 'imac' too; set another btmm_label for one of them"
checked:
  description: How many hosts have valid names and services.
  returned: always
  type: int
"""
