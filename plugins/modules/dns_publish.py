# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which runs the module `dns_host` once for all hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_publish
short_description: Publish all hosts of the play in as few DNS updates as fit
description:
  - Brings what the hosts of the play have in the zone, and in the fleet's ip6.arpa zone, to what the inventory says.
    Set C(run_once); it runs for all of them where the task is delegated to, as on the zone host over loopback, or on
    the controller (C(localhost)) over TLS. That is one round trip, however many hosts there are.
  - Reads the zone by one transfer, sends nothing when nothing differs, and else as few UPDATE messages as fit (at most
    64 kB each). The records of one host are never divided over messages.
  - A host that the inventory describes wrongly, or that the server refuses, fails alone. The task itself succeeds then,
    warns, and says so in RV(failed_hosts), which the next task turns into a failure of just these hosts.
  - For hosts whose own daemon does not publish, such as those with a fixed address, and for other records of hosts.
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.dns_connection]
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: full, description: Zone file text of what comes and goes, for each host.}
options:
  zone: {description: The owner's zone. Default is C(btmm_zone)., type: str}
  hosts:
    description:
      - Inventory names. Default is all hosts of the play that have not failed.
      - Each host is described by its variables C(btmm_label), C(btmm_title), C(btmm_model), C(btmm_services),
        C(identity_ula) (or what the owner's store has), C(btmm_endpoint) (C(address), and C(port) unless it is 4500)
        and C(btmm_records), a list of zone file lines. With C(btmm_endpoint) its whole set is published, and what else
        the host had is withdrawn; without, only C(btmm_records) are kept.
    type: list
    elements: str
  prefix:
    description: The fleet's /48. Default is that of the owner's store; without any the ip6.arpa zone is left alone.
    type: str
  guard:
    description:
      - Whether the server makes sure that nothing changed between reading and writing; see M(btmm.fleet.dns_host).
        The inventory is the authority, so by default the last writer wins.
    type: bool
    default: false
  owner_dir: {description: Where the owner's store is. Default is C(btmm_owner_dir)., type: path}
  passphrase:
    description:
      - Opens the owner's store, from which the addresses of enrolled hosts come, and the owner's key when no other is
        given. Default is C(btmm_owner_passphrase).
    type: str
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Publish all hosts from the controller
  btmm.fleet.dns_publish:
    server: 203.0.113.10
    tls: {ca: /etc/ssl/owner.pem, hostname: zone.bob.members.example}
  delegate_to: localhost
  run_once: true
  register: published

- name: Stop the hosts that were not
  ansible.builtin.assert:
    that: inventory_hostname not in published.failed_hosts
    fail_msg: "{{ published.failed_hosts[inventory_hostname] | default('') }}"
"""

RETURN = r"""
hosts:
  description: For each host by its inventory name, whether it C(changed) and, only when it failed, the sentence C(msg).
  returned: always
  type: dict
failed_hosts:
  description: The sentence for each host that failed.
  returned: always
  type: dict
messages:
  description: Number of UPDATE messages that were sent.
  returned: always
  type: int
"""
