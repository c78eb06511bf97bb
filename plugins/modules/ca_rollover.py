# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; it runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ca_rollover
short_description: Have another CA take the place of the owner's, step by step
version_added: 0.1.0
description:
  - The playbook C(rollover.yml) takes these steps, and brings each to the fleet.
  - V(begin) makes the next CA beside the present one. From then on every run of the roles gives hosts and servers both
    as anchors, and both CAs' lists of what was revoked.
  - V(issue) has the next one sign, once every machine that is enrolled has both. From then on every run of the roles
    replaces certificates of the former CA, as those of any other CA.
  - V(retire) forgets the former CA, once nobody has a certificate of it. From then on every run of the roles takes it
    away.
  - V(abandon) takes V(begin) back, as long as the next one does not sign.
  - A step that was taken is not taken again. Nothing is done on the managed host. Run it once per play (C(run_once)).
options:
  zone: {description: The owner's zone. Default C(btmm_zone)., type: str}
  owner_dir:
    description: Folder on the controller. Default C(btmm_owner_dir), or C(.btmm) beside the inventory.
    type: path
  passphrase: {description: Passphrase of the owner's secrets. Default C(btmm_owner_passphrase)., type: str}
  step:
    description: What to do.
    type: str
    choices: [begin, issue, retire, abandon]
    required: true
  force:
    description:
      - Go on without machines that lack the next CA (V(issue)), or still have a certificate of the former one
        (V(retire)). No tunnel comes to be between them and the others until a run of C(site.yml) reaches them.
    type: bool
    default: false
attributes:
  check_mode: {support: full, description: Says whether the step would be taken.}
  diff_mode: {support: full, description: Shows the CAs by their names.}
seealso:
  - module: btmm.fleet.owner_store
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Make the next CA
  btmm.fleet.ca_rollover:
    step: begin
  run_once: true
"""

RETURN = r"""
stage:
  description: V(both), V(issuing), or empty when there is one CA alone.
  returned: always
  type: str
former_stage:
  description: The same from before the step.
  returned: always
  type: str
lacking:
  description: Who has not both CAs as anchors yet.
  returned: always
  type: list
  elements: str
  sample: [macbook, macbook (kdc)]
outdated:
  description: Who has a certificate of another CA than the one that signs.
  returned: always
  type: list
  elements: str
  sample: [macbook, macbook (user alice)]
"""
