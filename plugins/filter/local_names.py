# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host calls its parts of one zone, for the roles that name files, units and addresses."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: local_names
short_description: Names of a host's parts of one zone
version_added: 0.1.0
description:
  - A host may belong to the zones of several owners. Each zone has its own folder, units, link, loopback address, table
    of the guard and inbound connection there; this filter names them.
options:
  _input: {description: The owner's zone., type: str, required: true}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
folder: "/etc/btmm/{{ (btmm_zone | btmm.fleet.local_names).zone }}"
"""

RETURN = r"""
_value:
  description:
    - C(zone) (lower case, without final dot), C(link) (the watcher's TUN), C(stub) (its loopback address), C(guard)
      (the nftables table), C(connection) (charon's inbound connection).
  type: dict
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.btmm.fleet.plugins.module_utils import local_names as local
from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName, parse_zone

if TYPE_CHECKING:
    from collections.abc import Callable

# systemd's names have at most 255 octets; the longest of ours is btmm-credentials@ZONE.service.
LONGEST = 230


def local_names(zone: str) -> dict[str, str]:
    """Return the names by what they are for."""
    try:
        name = parse_zone(zone)
    except InvalidName as error:
        raise AnsibleFilterError(f"{error}; correct btmm_zone") from None
    text = local.zone_text(name)
    if len(text) > LONGEST:
        raise AnsibleFilterError(
            f"zone '{text[:40]}...' has more than {LONGEST} octets; a unit could not be named for it"
        )
    return {
        "zone": text,
        "link": local.link_name(name),
        "stub": str(local.stub_address(name)),
        "guard": local.guard_table(name),
        "connection": local.inbound_connection(name),
    }


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"local_names": local_names}
