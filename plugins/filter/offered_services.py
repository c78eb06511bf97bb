# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host offers: the services it lists, and those that the role services sets up."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: offered_services
short_description: What a host offers
version_added: 0.1.0
description:
  - The services that the inventory lists, and those that the role P(btmm.fleet.services#role) sets up. One that is
    listed with the port at which it is set up is there once.
options:
  _input:
    description: The host's C(btmm_services), and the role's options that switch services on.
    type: dict
    required: true
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
offered: "{{ {'btmm_services': [], 'services_ssh': true} | btmm.fleet.offered_services }}"
"""

RETURN = r"""
_value:
  description: The services, each with C(type) and C(port), and with C(txt) if it was listed with one.
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.btmm.fleet.plugins.plugin_utils.offers import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def offered_services(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the services of the host that has these variables."""
    return offered(variables.get)


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"offered_services": offered_services}
