# SPDX-License-Identifier: GPL-3.0-or-later
"""Read records from a zone's primary."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_info
short_description: Read records from a zone's primary
description:
  - Reads RRsets by signed queries, or a whole zone by transfer (AXFR), over TCP or TLS, and returns typed data.
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.dns_connection]
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: N/A, description: It changes nothing.}
options:
  zone:
    description: The zone. Without it O(names) must end in a dot, and the server is asked in which zone they are.
    type: str
  names:
    description:
      - Owner names, absolute or below O(zone); C(@) is the zone itself. Without them the whole zone is transferred.
    type: list
    elements: str
  types:
    description: Record types. They are needed with O(names); of a whole zone they choose what is returned.
    type: list
    elements: str
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Read how macbook is reached
  btmm.fleet.dns_info:
    zone: bob.members.example
    names: [macbook, _autotunnel._udp.macbook]
    types: [AAAA, SRV]
    key_file: /etc/bind/btmm/admin.key
  register: macbook

- name: Read the instances of a service in the whole zone
  btmm.fleet.dns_info:
    zone: bob.members.example
    types: [PTR]
    key_file: /etc/bind/btmm/admin.key
"""

RETURN = r"""
records:
  description: The records, sorted by name and type.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Owner name, absolute., type: str}
    type: {description: Record type., type: str}
    ttl: {description: Seconds., type: int}
    rdata: {description: Data in zone file text., type: str}
    data:
      description: The data's fields, such as C(priority), C(weight), C(port) and C(target) of an SRV.
      type: dict
zones:
  description: The zones that were asked for.
  returned: always
  type: list
  elements: str
"""

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.btmm.fleet.plugins.module_utils.connection_options import (
    CONNECTION_ARGUMENTS,
    CONNECTION_RULES,
)

try:
    from ansible_collections.btmm.fleet.plugins.module_utils import connection, names, views
    from ansible_collections.btmm.fleet.plugins.module_utils.recordset import owner_of, record_type
    from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
except ImportError as error:
    if error.name is None or not error.name.startswith("dns"):
        raise
    HAS_DNS = False
else:
    HAS_DNS = True

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
    from dns.name import Name

ARGUMENTS = {
    "zone": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "types": {"type": "list", "elements": "str"},
}


def run(module: AnsibleModule) -> tuple[list[Record], list[Name]]:
    """Return the records, and the zones they were looked for in."""
    given, types = module.params["names"], [record_type(kind) for kind in module.params["types"] or []]
    zone = names.parse_zone(module.params["zone"]) if module.params["zone"] else None
    with connection.open_session(module.params) as session:
        if given is None:
            assert zone is not None  # noqa: S101 - by the argument spec
            content = session.ask(lambda exchange: exchange.transfer(zone))
            return [record for record in content if not types or record.rdata.rdtype in types], [zone]
        owners = list(dict.fromkeys(owner_of(name, zone) for name in given))
        zones = [zone] if zone else session.ask(lambda exchange: [exchange.zone_of(owner) for owner in owners])
        sets = [(owner, kind) for owner in owners for kind in types]
        found = session.ask(lambda exchange: exchange.lookups(sets))
    return [record for each in found for record in each], list(dict.fromkeys(zones))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **CONNECTION_ARGUMENTS},
        supports_check_mode=True,
        required_one_of=[("zone", "names")],
        required_by={"names": ["types"]},
        **CONNECTION_RULES,
    )
    if not HAS_DNS:
        module.fail_json(msg=missing_required_lib("dnspython", url="package python3-dnspython"))
    try:
        records, zones = run(module)
    except (UpdateError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        records=[views.plain(record) for record in views.in_order(records)],
        zones=[zone.to_text() for zone in zones],
    )


if __name__ == "__main__":
    main()
