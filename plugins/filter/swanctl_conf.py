# SPDX-License-Identifier: GPL-3.0-or-later
"""A description of tunnels as swanctl.conf, for roles that install it together with their other files."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: swanctl_conf
short_description: A description of tunnels as swanctl.conf
version_added: 0.1.0
description:
  - Renders what P(btmm.fleet.tunnel_config#module) installs for strongSwan, from the same options.
options:
  _input:
    description:
      - Options C(name), C(identity), C(ula), C(prefix), C(certificate) and C(authority) of that module, and any of
        C(port), C(peers), C(algorithms), C(ike_proposals), C(esp_proposals), C(weak), C(revocation), C(dpd_delay)
        and C(idle). Empty proposals are those of the collection.
      - C(start) is for the peers that do not say when they are called. Of C(data_path) (C(kernel) or C(libipsec)) and
        C(ike_port) (charon's first port) depends whether a peer with racoon can be reached over IPv6.
    type: dict
    required: true
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
content: "{{ description | btmm.fleet.swanctl_conf }}"
"""

RETURN = r"""
_value:
  description: The file for C(/etc/swanctl/conf.d).
  type: str
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.btmm.fleet.plugins.module_utils import ipsec_weak, tunnel_files
from ansible_collections.btmm.fleet.plugins.module_utils.ipsec import InvalidTunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def swanctl_conf(options: Mapping[str, Any]) -> str:
    """Return the file's text; AnsibleFilterError when the options are wrong."""
    try:
        text = tunnel_files.for_strongswan(options)
    except InvalidTunnel as error:
        raise AnsibleFilterError(str(error)) from None
    if told := ipsec_weak.warning(options):
        Display().warning(told)
    return text


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"swanctl_conf": swanctl_conf}
