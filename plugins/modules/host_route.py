# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes to peers' ULAs, as Back to My Mac set them: own ULA as source, and an MTU that fits any path."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_route
short_description: Routes to peers' ULAs, with the own ULA as source
version_added: 0.1.0
description:
  - Sets or removes IPv6 routes by C(ip), all of a table in one task.
  - Without such a route the kernel has none to a ULA and never looks at the IPsec policy; it also chooses the source
    address, and holds packets to a size that fits into any path after IPsec.
  - Routes that are not named, or lead to another link, are left alone. Nothing is written to disk; routes last until
    the next boot.
options:
  destinations:
    description: Addresses or networks, such as V(fd12:3456:789a::2).
    type: list
    elements: str
    required: true
  device:
    description: The link by which they leave.
    type: str
    required: true
  source:
    description: The own ULA. Needed with O(state=present).
    type: str
  mtu:
    description: Octets of the largest packet inside the tunnel.
    type: int
    default: 1280
  table:
    description: Number of the routing table; strongSwan has 220.
    type: int
    default: 254
  state:
    description: Whether the routes should be there.
    type: str
    choices: [present, absent]
    default: present
notes:
  - strongSwan sets the routes of its tunnels itself (table 220). This module is for tunnels that something else makes,
    such as racoon.
attributes:
  check_mode: {support: full, description: Says what would change without changing it.}
  diff_mode: {support: full, description: One line a route.}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Lead packets to macbook into the tunnel
  btmm.fleet.host_route:
    destinations: ["fd12:3456:789a::2"]
    device: lo
    source: "fd12:3456:789a::1"
  become: true

- name: Lead them nowhere any more
  btmm.fleet.host_route:
    destinations: ["fd12:3456:789a::2"]
    device: lo
    state: absent
  become: true
"""

RETURN = r"""
changed_routes:
  description: Destinations whose route was, or would be, set or removed.
  returned: always
  type: list
  elements: str
  sample: ["fd12:3456:789a::2/128"]
"""

import json
import platform
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import ip_command

Route = tuple[str, str, int]  # device, source, MTU; what is not set is "" or 0

_LEAST_MTU = 1280  # below it a link can't carry IPv6 (RFC 8200 section 5)
_NAMES = {253: "default", 254: "main", 255: "local"}


def parsed(module: AnsibleModule) -> tuple[list[IPv6Network], str]:
    """Return the destinations, each once, and the source; the module ends when one is wrong."""
    given = module.params
    try:
        destinations = dict.fromkeys(IPv6Network(text) for text in given["destinations"])
        source = str(IPv6Address(given["source"])) if given["source"] else ""
    except ValueError as error:
        module.fail_json(msg=f"{platform.node()}: {error}: give IPv6 addresses, or networks without host bits")
    if given["mtu"] < _LEAST_MTU:
        module.fail_json(msg=f"{platform.node()}: IPv6 has no MTU of {given['mtu']}: give {_LEAST_MTU} or more")
    return list(destinations), source


def held(module: AnsibleModule) -> dict[IPv6Network, list[Route]]:
    """Return the routes of the table; of several to one network the first is in use, since `ip` sorts by metric."""
    found: dict[IPv6Network, list[Route]] = {}
    table = module.params["table"]
    names = {str(table), _NAMES.get(table, "")}
    # All tables are asked for: one that nobody wrote to is an error by itself.
    listed: list[dict[str, Any]] = json.loads(
        ip_command.ask(module, "-6", "-json", "-N", "route", "show", "table", "all") or "[]"
    )
    for entry in listed:
        if str(entry.get("table", 254)) not in names or entry["dst"] == "default":
            continue
        mtu = next((metric["mtu"] for metric in entry.get("metrics", ()) if "mtu" in metric), 0)
        # A route of a type has no packets for its device: they are refused, or are the host's own.
        device = "" if "type" in entry else entry.get("dev", "")
        found.setdefault(IPv6Network(entry["dst"]), []).append((device, entry.get("prefsrc", ""), mtu))
    return found


def text(network: IPv6Network, route: Route) -> str:
    """Return a line for the diff."""
    device, source, mtu = route
    return f"{network} dev {device or '-'} src {source or '-'} mtu {mtu or '-'}\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "destinations": {"type": "list", "elements": "str", "required": True},
            "device": {"type": "str", "required": True},
            "source": {"type": "str"},
            "mtu": {"type": "int", "default": 1280},
            "table": {"type": "int", "default": 254},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("source",))],
        supports_check_mode=True,
    )
    given = module.params
    destinations, source = parsed(module)
    device, table = given["device"], str(given["table"])
    route = (device, source, given["mtu"])
    before = held(module)
    orders: list[tuple[str, ...]] = []
    changed, old, new = [], "", ""
    for network in destinations:
        there = before.get(network, [])
        if given["state"] == "present" and there[:1] != [route]:
            options = ("dev", device, "src", source, "mtu", str(given["mtu"]), "table", table)
            orders.append(("route", "replace", str(network), *options))
            old += text(network, there[0]) if there else ""
            new += text(network, route)
        elif given["state"] == "absent" and (ours := [each for each in there if each[0] == device]):
            orders += [("route", "del", str(network), "dev", device, "table", table)] * len(ours)
            old += "".join(text(network, each) for each in ours)
        else:
            continue
        changed.append(network)
    if not module.check_mode:
        ip_command.order(module, orders)
        after = held(module) if orders and given["state"] == "present" else {}
        # A route with another metric is not replaced, and may be preferred.
        for network in (network for network in changed if after and after[network][0] != route):
            other = text(network, after[network][0]).strip()
            module.fail_json(msg=f"{platform.node()}: {other} is preferred to the new route: remove it first")
    module.exit_json(
        changed=bool(changed), changed_routes=[str(network) for network in changed], diff={"before": old, "after": new}
    )


if __name__ == "__main__":
    main()
