# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep DNS record sets by signed dynamic updates."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_record_set
short_description: Keep DNS record sets by signed dynamic updates
description:
  - Reads the record sets at the primary, and sends at most one UPDATE (RFC 2136) with what has to change; all of it
    happens or nothing.
  - O(record_sets[].mode=merge) owns only the given rdata, so that hosts can share one PTR or TXT set.
  - Talks over TCP or TLS, signs with TSIG, and in check mode only reads.
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.dns_connection]
attributes:
  check_mode:
    support: full
    description: Only queries are sent. A server that does not answer yet, or no key file, counts as an empty zone.
  diff_mode: {support: full, description: Zone file text of the sets that change.}
options:
  zone:
    description:
      - The zone to update. Without it the names must end in a dot, and the server is asked in which of its zones each
        one is; sets of several zones are one UPDATE for each zone.
    type: str
  record_sets:
    description: The record sets.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Owner name, absolute or below O(zone); C(@) is the zone itself. Spaces are written C(\032). An international
            label is written in its C(xn--) form, but for a service instance, which is UTF-8.
        type: str
        required: true
      type: {description: Record type., type: str, required: true}
      ttl: {description: Seconds., type: int, default: 3600}
      rdata:
        description:
          - Data in zone file text. May be left out to remove a whole set. A TXT string has at most 255 octets; give
            several, each in double quotes, for more.
        type: list
        elements: str
        default: []
      mode:
        description: Whether the set is exactly O(record_sets[].rdata), or contains it besides others' records.
        type: str
        choices: [merge, replace]
        default: replace
      state:
        description: C(absent) removes the set, or with O(record_sets[].mode=merge) the given rdata only.
        type: str
        choices: [present, absent]
        default: present
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Say where the zone takes updates, and add one pointer to a shared set
  btmm.fleet.dns_record_set:
    zone: bob.members.example
    server: 203.0.113.10
    tls: {ca: /etc/ssl/owner.pem, hostname: zone.bob.members.example}
    key_file: /etc/bind/btmm/admin.key
    record_sets:
      - {name: _dns-update-tls._tcp, type: SRV, rdata: ["0 0 853 zone"]}
      - {name: _ssh._tcp, type: PTR, ttl: 4500, mode: merge, rdata: ['Bob''s\032iMac._ssh._tcp']}
"""

RETURN = r"""
changed_sets:
  description: Name and type of the sets that were, or would be, changed.
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
    from ansible_collections.btmm.fleet.plugins.module_utils import connection, names
    from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Unreachable
    from ansible_collections.btmm.fleet.plugins.module_utils.recordset import RecordSet, keep, owner_of, zone_text
    from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
except ImportError as error:
    if error.name is None or not error.name.startswith("dns"):
        raise
    HAS_DNS = False
else:
    HAS_DNS = True

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

SET = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True},
    "ttl": {"type": "int", "default": 3600},
    "rdata": {"type": "list", "elements": "str", "default": []},
    "mode": {"type": "str", "choices": ["merge", "replace"], "default": "replace"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENTS = {
    "zone": {"type": "str"},
    "record_sets": {"type": "list", "elements": "dict", "required": True, "options": SET},
}


def run(module: AnsibleModule) -> tuple[list[RecordSet], list[list[Record]]]:
    """Compare, send what differs in one message for each zone; return the sets that differed, and what they held."""
    options = module.params["record_sets"]
    zone = names.parse_zone(module.params["zone"]) if module.params["zone"] else None
    owners = [owner_of(each["name"], zone) for each in options]
    wanted = [RecordSet.from_options(each, zone) for each in options] if zone else []
    try:
        with connection.open_session(module.params) as session:
            if not zone:
                zones = session.ask(lambda exchange: [exchange.zone_of(owner) for owner in owners])
                wanted = [RecordSet.from_options(each, found) for each, found in zip(options, zones, strict=True)]
            else:
                zones = [zone] * len(wanted)
            return keep(session, list(zip(zones, wanted, strict=True)), check=module.check_mode)
    except (Unreachable, connection.KeyMissing) as error:
        if not (module.check_mode and zone):
            raise
        module.warn(f"all counts as empty in check mode: {error}")
        return wanted, [[] for _ in wanted]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **CONNECTION_ARGUMENTS}, supports_check_mode=True, **CONNECTION_RULES
    )
    if not HAS_DNS:
        module.fail_json(msg=missing_required_lib("dnspython", url="package python3-dnspython"))
    try:
        changed, held = run(module)
    except (UpdateError, ValueError) as error:
        module.fail_json(msg=str(error))
    diff = {
        "before": zone_text(record for current in held for record in current),
        "after": zone_text(
            record for each, current in zip(changed, held, strict=True) for record in each.after(current)
        ),
    }
    module.exit_json(changed=bool(changed), changed_sets=[str(each) for each in changed], diff=diff)


if __name__ == "__main__":
    main()
