# SPDX-License-Identifier: GPL-3.0-or-later
"""Withdraw all records of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_host
short_description: Withdraw all records of a host that is lost or leaves
description:
  - Reads the zone and the fleet's ip6.arpa zone by transfer, finds what belongs to the host, and deletes it with one
    UPDATE for each zone. Of shared sets only the host's own records go.
  - Needs a key that may transfer and write both zones, so normally runs on the zone host with the owner's key.
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.dns_connection]
attributes:
  check_mode: {support: full, description: Only transfers are asked for.}
  diff_mode: {support: full, description: Zone file text of what goes.}
options:
  zone: {description: The owner's zone., type: str, required: true}
  prefix: {description: The fleet's /48., type: str, required: true}
  labels: {description: Labels of the hosts., type: list, elements: str, required: true}
  state: {description: The hosts have no records., type: str, choices: [absent], default: absent}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Withdraw a stolen laptop
  btmm.fleet.dns_host:
    zone: bob.members.example
    prefix: fd12:3456:789a::/48
    labels: [macbook]
    key_file: /etc/bind/btmm/admin.key
    state: absent
"""

RETURN = r"""
withdrawn:
  description: Number of records that were, or would be, deleted.
  returned: always
  type: int
"""

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.btmm.fleet.plugins.module_utils.connection_options import (
    CONNECTION_ARGUMENTS,
    CONNECTION_RULES,
)

try:
    from ansible_collections.btmm.fleet.plugins.module_utils import connection, names
    from ansible_collections.btmm.fleet.plugins.module_utils.ownership import records_of
    from ansible_collections.btmm.fleet.plugins.module_utils.recordset import zone_text
    from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError, change
except ImportError as error:
    if error.name is None or not error.name.startswith("dns"):
        raise
    HAS_DNS = False
else:
    HAS_DNS = True

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

ARGUMENTS = {
    "zone": {"type": "str", "required": True},
    "prefix": {"type": "str", "required": True},
    "labels": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["absent"], "default": "absent"},
}


def run(module: AnsibleModule) -> list[Record]:
    """Withdraw the hosts' records from both zones, and return them."""
    zone = names.parse_zone(module.params["zone"])
    reverse = names.reverse_zone(IPv6Network(module.params["prefix"]))
    gone = []
    for each in (zone, reverse):
        with connection.open_exchange(module.params) as exchange:
            content = exchange.transfer(each)
            found: list[Record] = []
            for label in module.params["labels"]:
                # One after the other: a type in the enumeration goes with the last host that offers it.
                found += records_of(label, zone, [record for record in content if record not in found])
            if found and not module.check_mode:
                exchange.send(change(each, (), found))
        gone += found
    return gone


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **CONNECTION_ARGUMENTS}, supports_check_mode=True, **CONNECTION_RULES
    )
    if not HAS_DNS:
        module.fail_json(msg=missing_required_lib("dnspython", url="package python3-dnspython"))
    try:
        gone = run(module)
    except (UpdateError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(gone), withdrawn=len(gone), diff={"before": zone_text(gone), "after": ""})


if __name__ == "__main__":
    main()
