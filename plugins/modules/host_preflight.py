# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe a host before anything is written to it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_preflight
short_description: Find out what a host can do, and refuse one that cannot join
version_added: 0.1.0
description:
  - Looks for kernel ESP in UDP, TUN, a way out, the clock's error, and versions, in one round trip; all faults are told
    at once, each as one sentence with host, cause and fix.
  - Nothing on the host is changed. Kernel ESP and TUN are tried in a network namespace that goes at once.
options:
  host:
    description: The name that faults begin with, the host's name in the inventory.
    type: str
    required: true
  controller_time:
    description: The controller's clock, seconds since 1970.
    type: float
    required: true
  towards:
    description:
      - IPv4 address that the host must have a route to, the zone host's; by default an address that only a default
        route leads to (RFC 5737). Nothing is sent.
    type: str
    default: 192.0.2.1
  max_skew:
    description:
      - Seconds that the host's clock may be off. Beyond 300 s, signatures of DNS messages are refused
        (RFC 8945 section 10).
    type: int
    default: 300
  require:
    description: What the host must have. A fault in anything else is not one.
    type: list
    elements: str
    choices: [uplink, clock, data_path, tun, systemd, python, tools]
    default: [uplink, clock, data_path, tun, systemd, python, tools]
  tools:
    description: Commands that must be there.
    type: list
    elements: str
    default: [openssl, ip, systemctl]
  racoon:
    description: What is wanted of racoon, on a host that is to have it instead of strongSwan.
    type: dict
    suboptions:
      identity: {description: The host's name in the zone., type: str, required: true}
      key_type: {description: Kind of its key., type: str, required: true}
      outer: {description: Own addresses at which racoon listens., type: list, elements: str, default: []}
      peers:
        description: All peers, each with C(identity) and C(ula), and C(address) if it is called.
        type: list
        elements: dict
        default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Look at the host
  btmm.fleet.host_preflight:
    host: "{{ inventory_hostname }}"
    controller_time: "{{ now().timestamp() }}"
  register: preflight
"""

RETURN = r"""
data_path:
  description: V(kernel) with kernel ESP, V(libipsec) with TUN only; empty with neither.
  returned: always
  type: str
  sample: kernel
esp:
  description: Whether the kernel does ESP in UDP.
  returned: always
  type: bool
esp_fault:
  description: What the kernel said when it does not.
  returned: always
  type: str
tun:
  description: Whether a TUN interface can be made.
  returned: always
  type: bool
default_ipv4:
  description: C(address), C(interface) and C(gateway) of the way to O(towards); null without one.
  returned: always
  type: dict
clock_skew:
  description: Seconds that the host is ahead of the controller (the round trip included); negative when it is behind.
  returned: always
  type: float
strongswan_version:
  description: The installed strongSwan, empty without one.
  returned: always
  type: str
  sample: 5.9.8
racoon_zones:
  description: The zones whose tunnels racoon has on this host.
  returned: always
  type: list
  elements: str
systemd_version:
  description: The running systemd, 0 without one.
  returned: always
  type: int
python_version:
  description: The Python that runs modules.
  returned: always
  type: str
distribution:
  description: C(id) and C(codename) of os-release(5).
  returned: always
  type: dict
resolver:
  description: C(resolved) (systemd-resolved runs), C(stub) (/etc/resolv.conf is its stub file), C(nameservers) in it.
  returned: always
  type: dict
faults:
  description: One sentence per fault.
  returned: always
  type: list
  elements: str
"""

import platform
import sys
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import probe, racoon_host

CHECKS = ["uplink", "clock", "data_path", "tun", "systemd", "python", "tools"]
# The daemon's Python, and what its unit and resolvectl use; Debian 12 has 3.11 and 252.
MIN_PYTHON = (3, 11)
MIN_SYSTEMD = 249
RACOON = {
    "identity": {"type": "str", "required": True},
    "key_type": {"type": "str", "required": True, "no_log": False},
    "outer": {"type": "list", "elements": "str", "default": []},
    "peers": {"type": "list", "elements": "dict", "default": []},
}


def look(params: dict[str, Any]) -> dict[str, Any]:
    """Return the facts, as in RETURN but for the faults."""
    skew = time.time() - params["controller_time"]
    esp_fault, tun_fault = probe.esp_fault(), probe.tun_fault()
    data_path = "kernel" if not esp_fault else "libipsec" if not tun_fault else ""
    return {
        "data_path": data_path,
        "esp": not esp_fault,
        "esp_fault": esp_fault,
        "tun": not tun_fault,
        "tun_fault": tun_fault,
        "default_ipv4": probe.way_to(params["towards"]),
        "clock_skew": round(skew, 1),
        "strongswan_version": probe.version(["swanctl", "--version"], r"strongSwan (\S+)"),
        "racoon_zones": racoon_host.served(),
        "systemd_version": int(probe.version(["systemctl", "--version"], r"^systemd (\d+)") or 0),
        "python_version": platform.python_version(),
        "distribution": probe.distribution(),
        "resolver": probe.resolver(),
        "missing_tools": probe.missing_tools(params["tools"]),
    }


def judge(facts: dict[str, Any], params: dict[str, Any]) -> dict[str, str]:
    """Return cause and fix for each check that fails."""
    skew = facts["clock_skew"]
    faults = {"uplink": probe.address_fault(facts["default_ipv4"], params["towards"])}
    if abs(skew) > params["max_skew"]:
        side = "ahead of" if skew > 0 else "behind"
        faults["clock"] = f"its clock is {abs(skew):.0f} s {side} the controller's; set it, and keep it set with NTP"
    if not facts["data_path"]:
        faults["data_path"] = (
            f"its kernel has neither ESP ({facts['esp_fault']}) nor TUN ({facts['tun_fault']}); "
            "load the modules esp4 and xfrm_user or tun, or allow /dev/net/tun in its container"
        )
    elif not facts["tun"]:
        faults["tun"] = (
            f"no TUN interface can be made ({facts['tun_fault']}); load the module tun, or allow /dev/net/tun"
        )
    if facts["systemd_version"] < MIN_SYSTEMD:
        found = facts["systemd_version"] or "none"
        faults["systemd"] = f"it needs systemd {MIN_SYSTEMD} or later and has {found}; upgrade the distribution"
    if sys.version_info < MIN_PYTHON:
        wanted = ".".join(map(str, MIN_PYTHON))
        faults["python"] = f"it needs Python {wanted} or later and has {facts['python_version']}; upgrade it"
    if facts["missing_tools"]:
        faults["tools"] = f"it lacks {', '.join(facts['missing_tools'])}; install them"
    return {check: fault for check, fault in faults.items() if fault}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "controller_time": {"type": "float", "required": True},
            "towards": {"type": "str", "default": "192.0.2.1"},
            "max_skew": {"type": "int", "default": 300},
            "require": {"type": "list", "elements": "str", "choices": CHECKS, "default": CHECKS},
            "tools": {"type": "list", "elements": "str", "default": ["openssl", "ip", "systemctl"]},
            "racoon": {"type": "dict", "options": RACOON},
        },
        supports_check_mode=True,
    )
    facts = look(module.params)
    found = judge(facts, module.params)
    causes = [found[check] for check in CHECKS if check in found and check in module.params["require"]]
    if module.params["racoon"]:
        causes += racoon_host.faults(module.params["racoon"], facts["esp_fault"])
    faults = [f"{module.params['host']}: {cause}" for cause in causes]
    facts = {name: value for name, value in facts.items() if name not in {"missing_tools", "tun_fault"}}
    if faults:
        module.fail_json(msg="\n".join(faults), faults=faults, **facts)
    module.exit_json(changed=False, faults=[], **facts)


if __name__ == "__main__":
    main()
