# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish whole hosts, or withdraw all records of hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_host
short_description: Publish whole hosts, or withdraw all records of hosts that are lost or leave
description:
  - Brings everything a host has in the zone, and in the fleet's ip6.arpa zone, to what is wanted, with one UPDATE for
    each zone, which is applied as a whole or not at all. Of shared sets only the host's own records come and go.
  - Reads each zone by one transfer, sends nothing when nothing differs, and lets hosts share messages (at most 64 kB);
    when the server refuses one, its hosts are tried in halves, so that no host fails for another's fault.
  - To remove hosts takes a key that may transfer both zones. To publish, the key must be able to write, and without
    transfer at least to query; then instances of a former title stay.
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.dns_connection]
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: full, description: Zone file text of what comes and goes, for each host.}
options:
  zone: {description: The owner's zone., type: str, required: true}
  prefix:
    description: The fleet's /48. Without it the ip6.arpa zone is left alone; O(state=absent) needs it.
    type: str
  hosts:
    description: The hosts to publish.
    type: list
    elements: dict
    suboptions:
      name: {description: How results name the host; its label when left out., type: str}
      label: {description: The host's label in the zone., type: str, required: true}
      title: {description: "User-visible name, any UTF-8 of at most 63 octets; the label when left out.", type: str}
      ula: {description: Its IPv6 address inside the tunnel; needed with an endpoint., type: str}
      model: {description: Device model., type: str}
      services:
        description: What it offers.
        type: list
        elements: dict
        default: []
        suboptions:
          type: {description: "Service type, C(ssh) or C(_ssh._tcp).", type: str, required: true}
          port: {description: Its local port., type: int, required: true}
          txt: {description: TXT strings of at most 255 octets each., type: list, elements: str, default: []}
      endpoint:
        description: Where its tunnel is reached. With it the host's whole set is published, and what else it had goes.
        type: dict
        suboptions:
          address: {description: Outer IPv4 or IPv6 address., type: str, required: true}
          port: {description: Outer UDP port., type: int, default: 4500}
      records:
        description: Records of its own besides, as zone file lines. These are never withdrawn.
        type: list
        elements: str
        default: []
  labels: {description: Labels of the hosts to withdraw., type: list, elements: str}
  guard:
    description:
      - Whether the server makes sure that the host's RRsets are still as they were read. If somebody changed them in
        between, they are read and compared again. Without, the last writer wins. Hosts are always withdrawn with it.
    type: bool
    default: true
  state:
    description: Whether the hosts have their records, or none.
    type: str
    choices: [present, absent]
    default: present
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Publish a host with a fixed address
  btmm.fleet.dns_host:
    zone: bob.members.example
    prefix: fd12:3456:789a::/48
    key_file: /etc/bind/btmm/admin.key
    hosts:
      - label: mini
        title: Bob's mini
        ula: fd12:3456:789a::1
        services: [{type: ssh, port: 22}]
        endpoint: {address: 203.0.113.20}

- name: Withdraw a stolen laptop
  btmm.fleet.dns_host:
    zone: bob.members.example
    prefix: fd12:3456:789a::/48
    labels: [macbook]
    key_file: /etc/bind/btmm/admin.key
    state: absent
"""

RETURN = r"""
hosts:
  description: For each host by its name, whether it C(changed) and, only when it failed, the sentence C(msg).
  returned: always
  type: dict
failed_hosts:
  description: The sentence for each host that failed. The task fails when it was the only one, or with O(state=absent).
  returned: always
  type: dict
withdrawn:
  description: Number of records that were, or would be, deleted.
  returned: when O(state=absent)
  type: int
messages:
  description: Number of UPDATE messages that were sent.
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
from ansible_collections.btmm.fleet.plugins.module_utils.host_options import HOST_ARGUMENTS

try:
    from ansible_collections.btmm.fleet.plugins.module_utils import connection, hostset, names
    from ansible_collections.btmm.fleet.plugins.module_utils.recordset import zone_text
    from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
except ImportError as error:
    if error.name is None or not error.name.startswith("dns"):
        raise
    HAS_DNS = False
else:
    HAS_DNS = True

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.hostset import Result

ARGUMENTS = {
    "zone": {"type": "str", "required": True},
    "prefix": {"type": "str"},
    "hosts": {"type": "list", "elements": "dict", "options": HOST_ARGUMENTS},
    "labels": {"type": "list", "elements": "str"},
    "guard": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def run(module: AnsibleModule) -> tuple[dict[str, Result], int]:
    """Publish or withdraw; return each host's result and the number of messages."""
    given, check = module.params, module.check_mode
    zone = names.parse_zone(given["zone"])
    prefix = IPv6Network(given["prefix"]) if given["prefix"] else None
    with connection.open_session(given) as session:
        if given["state"] == "absent":
            assert prefix is not None  # noqa: S101 - by the argument spec
            return hostset.absent(session, zone, given["labels"], prefix=prefix, check=check)
        return hostset.present(session, zone, given["hosts"], prefix=prefix, check=check, guarded=given["guard"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, **CONNECTION_ARGUMENTS},
        supports_check_mode=True,
        required_if=[("state", "present", ("hosts",)), ("state", "absent", ("labels", "prefix"))],
        **CONNECTION_RULES,
    )
    if not HAS_DNS:
        module.fail_json(msg=missing_required_lib("dnspython", url="package python3-dnspython"))
    try:
        results, messages = run(module)
    except (UpdateError, ValueError) as error:
        module.fail_json(msg=str(error))
    failed = {host: f"{host}: {result.failure}" for host, result in results.items() if result.failure is not None}
    changed = {host: result for host, result in results.items() if result.changed}
    answer = {
        "changed": bool(changed),
        "hosts": {
            host: {"changed": result.changed, **({"msg": failed[host]} if host in failed else {})}
            for host, result in results.items()
        },
        "failed_hosts": failed,
        "messages": messages,
        "diff": [
            {
                "before_header": host,
                "after_header": host,
                "before": zone_text(result.before),
                "after": zone_text(result.after),
            }
            for host, result in changed.items()
        ],
    }
    if module.params["state"] == "absent":
        answer["withdrawn"] = sum(len(result.before) for result in results.values())
    if failed and (len(results) == 1 or module.params["state"] == "absent"):
        module.fail_json(msg="; ".join(failed.values()), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
