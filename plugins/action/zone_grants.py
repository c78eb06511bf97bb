# SPDX-License-Identifier: GPL-3.0-or-later
"""Give hosts of the fleet their TSIG key and grants on the zone host; see the module documentation of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import bind
from ansible_collections.btmm.fleet.plugins.module_utils.names import (
    check_label,
    parse_zone,
    reverse_zone,
    tsig_key_name,
)
from ansible_collections.btmm.fleet.plugins.module_utils.policy import host_grants
from ansible_collections.btmm.fleet.plugins.module_utils.records import InvalidRecord, host_from_config
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore


class ActionModule(FleetAction):
    """Derive secrets and grants on the controller, hand all of them over in one round trip."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        "hosts": {"type": "list", "elements": "str", "default": []},
        "labels": {"type": "list", "elements": "str", "default": []},
        "retire": {"type": "bool", "default": False},
        "directory": {"type": "path", "default": "/etc/bind/btmm"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }

    def perform(self) -> dict[str, Any]:
        """Run the module `update_policy` once for all hosts; its refusals come back by inventory name."""
        store = self.store()
        state = self.options["state"]
        entries: dict[str, dict[str, Any]] = {}
        inventory_names: dict[str, str] = {}
        refused: dict[str, str] = {}
        if state == "absent":
            entries = {label: {"label": label} for label in map(check_label, self.options["labels"])}
        else:
            for name in self.options["hosts"]:
                try:
                    entry = self._entry(store, name)
                    rival = inventory_names.setdefault(entry["label"], name)
                    if rival != name:
                        raise InvalidRecord(f"label {entry['label']} is {rival}'s: set another btmm_label")
                except ValueError as error:
                    refused[name] = f"{name}: {error}"
                else:
                    entries[entry["label"]] = entry
            for label in map(check_label, self.options["labels"]):
                if label in entries:
                    refused[label] = f"{label}: it is the label of {inventory_names[label]} too: set another btmm_label"
                else:
                    entries[label] = _key(store, label)
        arguments = {
            "zone": self.options["zone"],
            "prefix": str(store.prefix),
            "directory": self.options["directory"],
            "hosts": list(entries.values()),
            "state": state,
        }
        if state == "present":
            arguments["retire"] = self.options["retire"]
            arguments["admin_secret"] = store.tsig_secret(bind.ADMIN_LABEL)
        result: dict[str, Any] = self._execute_module(
            module_name="btmm.fleet.update_policy", module_args=arguments, task_vars=self.task_vars
        )
        for label, sentence in result.get("refused", {}).items():
            name = inventory_names.get(label, label)
            refused[name] = f"{name}: {sentence}"
        return {
            **result,
            "refused": refused,
            "zone": self.options["zone"],
            "prefix": str(store.prefix),
            "key_names": {
                label: str(tsig_key_name(label, parse_zone(self.options["zone"]), store.tsig_generation(label)))
                for label in entries
            },
            "reverse_zone": reverse_zone(store.prefix).to_text(omit_final_dot=True),
        }

    def _entry(self, store: OwnerStore, name: str) -> dict[str, Any]:
        """Return what the module is told about one host of the inventory."""
        label = self.label_of(name)
        enrolment = store.enrolment(label)
        ula = self.variable("identity_ula", name) or (enrolment and enrolment.ula)
        if not ula:
            raise InvalidRecord("it has no address yet: run the identity role first")
        host = host_from_config(
            {
                "zone": self.options["zone"],
                "label": label,
                "title": self.variable("btmm_title", name),
                "model": self.variable("btmm_model", name),
                "services": self.services_of(name),
                "ula": ula,
            }
        )
        if host.ula not in store.prefix:
            raise InvalidRecord(f"its address {host.ula} is not in the fleet's {store.prefix}: run the identity role")
        return {**_key(store, label), "grants": bind.plain_grants(host_grants(host))}


def _key(store: OwnerStore, label: str) -> dict[str, Any]:
    return {"label": label, "secret": store.tsig_secret(label), "generation": store.tsig_generation(label)}
