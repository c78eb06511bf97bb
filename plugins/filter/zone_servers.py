# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of the zone's servers, for the roles that have to name them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: zone_servers
short_description: Name, label and address of the zone's servers
version_added: 0.1.0
description:
  - From inventory data alone, for the hosts of the group C(btmm_zone_hosts). The first one is the zone's primary.
positional: hostvars, zone, port
options:
  _input: {description: Inventory names., type: list, elements: str, required: true}
  hostvars: {description: The variable of that name., type: dict, required: true}
  zone: {description: The owner's zone., type: str, required: true}
  port: {description: Port of DNS over TLS., type: int, default: 853}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
primary: "{{ (groups.btmm_zone_hosts | btmm.fleet.zone_servers(hostvars, btmm_zone) | first).addresses }}"
"""

RETURN = r"""
_value:
  description: For each server its C(host) (inventory name), C(label), C(name), C(addresses) and C(port).
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def zone_servers(hosts: Iterable[str], hostvars: Mapping[str, Any], zone: str, port: int = 853) -> list[dict[str, Any]]:
    """Return the servers in the order of the inventory."""
    servers = []
    for host in hosts:
        variables = hostvars[host]
        if "zone_address" not in variables:
            raise AnsibleFilterError(f"{host}: it has no zone_address; set its public IPv4 address in the inventory")
        label = str(variables.get("btmm_label") or variables["inventory_hostname_short"]).lower()
        name = f"{label}.{zone.removesuffix('.').lower()}"
        addresses = [str(variables[key]) for key in ("zone_address", "zone_address6") if variables.get(key)]
        servers.append({"host": str(host), "label": label, "name": name, "addresses": addresses, "port": port})
    return servers


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"zone_servers": zone_servers}
