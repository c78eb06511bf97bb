# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the inventory says about a group's hosts, on the controller, before anything is written."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName
from ansible_collections.btmm.fleet.plugins.module_utils.records import Host, InvalidRecord, host_from_config
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import FleetAction

# The address is made from a key that may not exist yet; any address gives names of the same length.
SOME_ADDRESS = "fd00::1"


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {"group": {"type": "str", "default": "btmm_fleet"}}

    def perform(self) -> dict[str, Any]:
        """Check every host of the group, also those that a ``--limit`` leaves out: one of them may hold the label."""
        faults, hosts = {}, {}
        for name in self.task_vars["groups"].get(self.options["group"], []):
            try:
                hosts[name] = self._host(name)
            except (InvalidName, InvalidRecord) as error:
                faults[name] = f"{name}: {error}; correct it in the inventory"
        for kind, variable in (("label", "btmm_label"), ("title", "btmm_title")):
            holders: dict[tuple[str, str], list[str]] = {}
            for name, host in hosts.items():
                # Titles name service instances, and DNS compares them without case (RFC 6763 section 4.1.1).
                holders.setdefault((str(host.zone), getattr(host, kind).lower()), []).append(name)
            for (_, value), names in holders.items():
                for name in names if len(names) > 1 else []:
                    other = next(holder for holder in names if holder != name)
                    faults.setdefault(
                        name,
                        f"{name}: host '{other}' has the {kind} '{value}' too; set another {variable} for one of them",
                    )
        return {"changed": False, "faults": faults, "checked": len(hosts)}

    def _host(self, name: str) -> Host:
        short = name.split(".", maxsplit=1)[0]
        given = {key: self.variable(f"btmm_{key}", name) for key in ("zone", "label", "title", "model")}
        if not given["zone"]:
            raise InvalidName("it has no zone: set btmm_zone")
        given |= {"label": given["label"] or short, "services": self.services_of(name)}
        return host_from_config({**given, "ula": SOME_ADDRESS})
