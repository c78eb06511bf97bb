# SPDX-License-Identifier: GPL-3.0-or-later
"""IPsec policies of the Linux kernel: what must be protected, what must never leave in clear."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ipsec_policy
short_description: IPsec policies of the Linux kernel
version_added: 0.1.0
description:
  - Sets or removes policies by C(ip xfrm policy), several in one task. A policy is known by its selectors and
    direction; those that are not named are left alone.
  - strongSwan and racoon make the policies of their tunnels themselves. This module is for what stands around them,
    such as V(block) for a prefix whose packets must never leave in clear, and for tunnels that something else keys.
  - Nothing is written to disk; policies last until the next boot.
options:
  policies:
    description: The policies.
    type: list
    elements: dict
    required: true
    suboptions:
      source: {description: Network of the sender inside the tunnel., type: str, required: true}
      destination: {description: "Network of the receiver, of the same family.", type: str, required: true}
      direction: {description: Which packets are judged., type: str, choices: [in, out, fwd], required: true}
      action:
        description: V(protect) demands the tunnel from O(policies[].outer_source) to O(policies[].outer_destination).
        type: str
        choices: [protect, block, allow]
        default: protect
      outer_source: {description: "Sender's outer address.", type: str}
      outer_destination: {description: "Receiver's outer address, of the same family.", type: str}
      priority:
        description: The policy with the least number that fits a packet decides. strongSwan's have 175423 and more.
        type: int
        default: 1000000
      reqid: {description: Number of the associations that may be used; 0 takes any., type: int, default: 0}
  state:
    description: Whether the policies should be there.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode: {support: full, description: Says what would change without changing it.}
  diff_mode: {support: full, description: A line or two a policy.}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Never let a packet of the zone leave in clear
  btmm.fleet.ipsec_policy:
    policies:
      - {source: "::/0", destination: "fd12:3456:789a::/48", direction: out, action: block}
  become: true

- name: Have packets to macbook protected, as racoon will
  btmm.fleet.ipsec_policy:
    policies:
      - source: "fd12:3456:789a::1"
        destination: "fd12:3456:789a::2"
        direction: out
        outer_source: "2001:db8::1"
        outer_destination: "2001:db8::2"
  become: true
"""

RETURN = r"""
changed_policies:
  description: The policies that were, or would be, set or removed, as direction, source and destination.
  returned: always
  type: list
  elements: str
  sample: ["out ::/0 fd12:3456:789a::/48"]
"""

import platform
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import ip_command

POLICY = {
    "source": {"type": "str", "required": True},
    "destination": {"type": "str", "required": True},
    "direction": {"type": "str", "choices": ["in", "out", "fwd"], "required": True},
    "action": {"type": "str", "choices": ["protect", "block", "allow"], "default": "protect"},
    "outer_source": {"type": "str"},
    "outer_destination": {"type": "str"},
    "priority": {"type": "int", "default": 1000000},
    "reqid": {"type": "int", "default": 0},
}


@dataclass(frozen=True)
class Policy:
    """What the kernel does; `outer` are the two addresses, and none unless the action is protect."""

    action: str
    priority: int
    outer: tuple[str, ...] = ()
    reqid: int = 0

    def arguments(self) -> list[str]:
        """Return it as ``ip xfrm policy update`` takes it."""
        if self.action != "protect":
            return ["action", self.action, "priority", str(self.priority)]
        source, destination = self.outer
        ends = ["src", source, "dst", destination, "proto", "esp", "reqid", str(self.reqid), "mode", "tunnel"]
        return ["priority", str(self.priority), "tmpl", *ends]

    def text(self) -> str:
        """Return it for the diff."""
        return " ".join(self.arguments())


def network(text: str) -> IPv4Network | IPv6Network:
    """Return a network, or raise ValueError with cause and fix."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}: give an address, or a network without host bits") from None


def address(text: str) -> IPv4Address | IPv6Address:
    """Return an address, or raise ValueError with cause and fix."""
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address: give an IPv4 or IPv6 address") from None


def policy(entry: dict[str, Any]) -> tuple[tuple[str, ...], Policy]:
    """Return how an entry's policy is known to ``ip``, and what it is.

    Raises:
        ValueError: an address is wrong, or missing.
    """
    source, destination = (network(entry[name]) for name in ("source", "destination"))
    if source.version != destination.version:
        raise ValueError(f"{source} and {destination} are of two families: take one")
    selector = ("src", str(source), "dst", str(destination), "dir", entry["direction"])
    if entry["action"] != "protect":
        return selector, Policy(entry["action"], entry["priority"])
    if not entry["outer_source"] or not entry["outer_destination"]:
        raise ValueError(f"{source} to {destination} has no outer addresses: name both")
    outer = address(entry["outer_source"]), address(entry["outer_destination"])
    if outer[0].version != outer[1].version:
        raise ValueError(f"{outer[0]} and {outer[1]} are of two families: take one")
    return selector, Policy("protect", entry["priority"], (str(outer[0]), str(outer[1])), entry["reqid"])


def name_of(selector: tuple[str, ...]) -> str:
    """Return how a policy is named to the owner: direction, source, destination."""
    _, source, _, destination, _, direction = selector
    return f"{direction} {source} {destination}"


def parsed(text: str) -> Policy:
    """Read what ``ip xfrm policy get`` writes: a policy, and after each `tmpl` what it demands."""
    head, *templates = text.split("tmpl")
    whole = dict(pairwise(head.split()))  # names and values are never the same
    priority = int(whole.get("priority", 0))
    if not templates:
        return Policy(whole.get("action", "allow"), priority)
    demanded = dict(pairwise(templates[0].split()))
    outer = (demanded.get("src", ""), demanded.get("dst", ""))
    kind = (len(templates), demanded.get("proto"), demanded.get("mode"), demanded.get("level", "required"))
    what = "protect" if kind == (1, "esp", "tunnel", "required") else "other"
    return Policy(what, priority, outer, int(demanded.get("reqid", "0").partition("(")[0]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "policies": {"type": "list", "elements": "dict", "required": True, "options": POLICY},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    present = module.params["state"] == "present"
    wanted: dict[tuple[str, ...], Policy] = {}
    try:
        for entry in module.params["policies"]:
            selector, new = policy(entry)
            if wanted.setdefault(selector, new) != new:
                raise ValueError(f"{name_of(selector)} is named twice, with different policies: remove one")
    except ValueError as error:
        module.fail_json(msg=f"{platform.node()}: {error}")
    orders, changed, before, after = [], [], "", ""
    for selector, new in wanted.items():
        found = ip_command.ask(module, "xfrm", "policy", "get", *selector)
        old = parsed(found) if found else None
        if old == new if present else old is None:
            continue
        name = name_of(selector)
        changed.append(name)
        before += f"{name}: {old.text()}\n" if old is not None else ""
        after += f"{name}: {new.text()}\n" if present else ""
        how = ("update", *selector, *new.arguments()) if present else ("delete", *selector)
        orders.append(("xfrm", "policy", *how))
    if not module.check_mode:
        ip_command.order(module, orders)
    module.exit_json(changed=bool(changed), changed_policies=changed, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
