# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the zone's servers have a notifier, and at which ports."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: zone_notifiers
short_description: The notifiers of the zone's servers
version_added: 0.1.0
description:
  - From inventory data alone. A zone host has a notifier (role P(btmm.fleet.notifier#role)) unless its inventory
    variable C(notifier_state) is C(absent); its ports are C(notifier_notify_port), C(notifier_push_port),
    C(notifier_llq_port) and C(notifier_llq_tls_port), or the defaults; 0 is none.
positional: hostvars
options:
  _input: {description: What P(btmm.fleet.zone_servers#filter) returned., type: list, elements: dict, required: true}
  hostvars: {description: The variable of that name., type: dict, required: true}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
notifiers: "{{ servers | btmm.fleet.zone_notifiers(hostvars) }}"
"""

RETURN = r"""
_value:
  description:
    - For each notifier its C(host), C(name) and C(addresses), which are the server's, the C(label) of its TSIG key, its
      C(ports) (C(notify), C(push), C(llq), C(llq_tls)), and as C(notify_address) where the primary sends NOTIFY.
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PORTS = {"notify": 5453, "push": 8853, "llq": 5352, "llq_tls": 5533}
LOOPBACK = "127.0.0.1"


def zone_notifiers(servers: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the notifiers in the order of the servers, of which the first is the primary."""
    return [
        {
            **{key: server[key] for key in ("host", "name", "addresses")},
            "label": f"{server['label']}-notifier",
            "ports": {
                kind: int(hostvars[server["host"]].get(f"notifier_{kind}_port", port)) for kind, port in PORTS.items()
            },
            "notify_address": LOOPBACK if server is servers[0] else server["addresses"][0],
        }
        for server in servers
        if hostvars[server["host"]].get("notifier_state", "present") == "present"
    ]


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"zone_notifiers": zone_notifiers}
