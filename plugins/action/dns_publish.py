# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish all hosts of the play in one round trip; see the module documentation of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.module_utils import bind, gss
from ansible_collections.btmm.fleet.plugins.module_utils.connection_options import CONNECTION_ARGUMENTS
from ansible_collections.btmm.fleet.plugins.module_utils.names import parse_zone
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore


class ActionModule(FleetAction):
    """Collect every host's description from the inventory, and hand all of them over at once."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        **CONNECTION_ARGUMENTS,
        "hosts": {"type": "list", "elements": "str"},
        "prefix": {"type": "str"},
        "guard": {"type": "bool", "default": False},
    }

    def perform(self) -> dict[str, Any]:
        """Run the module `dns_host` once, where the task is delegated to."""
        # Not BYPASS_HOST_LOOP, which would register the result for the first host only.
        if not self._task.run_once and len(self.task_vars["ansible_play_hosts"]) > 1:
            raise AnsibleActionFail(f"{self.host}: dns_publish publishes all hosts of the play: set run_once")
        store = self.store() if self.options["passphrase"] else None
        names = self.options["hosts"]
        if names is None:
            names = list(self.task_vars["ansible_play_hosts"])
        described: list[dict[str, Any]] = []
        failed: dict[str, str] = {}
        for name in names:
            try:
                described.append(self._describe(store, name))
            except ValueError as error:
                failed[name] = f"{name}: {error}"
        arguments = {option: self.options[option] for option in CONNECTION_ARGUMENTS}
        if store is not None and not self._has_key():
            arguments["key_name"] = bind.admin_key_name(parse_zone(self.options["zone"])).to_text()
            arguments["key_secret"] = store.tsig_secret(bind.ADMIN_LABEL)
        result: dict[str, Any] = self._execute_module(
            module_name="btmm.fleet.dns_host",
            module_args={
                **{option: value for option, value in arguments.items() if value is not None},
                "zone": self.options["zone"],
                "prefix": self.options["prefix"] or (str(store.prefix) if store is not None else None),
                "hosts": described,
                "guard": self.options["guard"],
            },
            task_vars=self.task_vars,
        )
        hosts = {name: {"changed": False, "msg": sentence} for name, sentence in failed.items()}
        failed.update(result.get("failed_hosts", {}))
        return {
            **result,
            "hosts": {**hosts, **result.get("hosts", {})},
            "failed_hosts": failed,
            "warnings": [*result.get("warnings", []), *failed.values()],
        }

    def _has_key(self) -> bool:
        given = self.options
        return bool(given["key_file"] or given["key_secret"] or given["key_algorithm"] == gss.ALGORITHM)

    def _describe(self, store: OwnerStore | None, name: str) -> dict[str, Any]:
        """Return one host of the inventory as the module's option `hosts` takes it."""
        label = self.label_of(name)
        ula = self.variable("identity_ula", name)
        if not ula and store is not None and (enrolment := store.enrolment(label)) is not None:
            ula = str(enrolment.ula)
        described = {
            "name": name,
            "label": label,
            "title": self.variable("btmm_title", name),
            "ula": ula,
            "model": self.variable("btmm_model", name),
            "services": self.services_of(name),
            "endpoint": self.variable("btmm_endpoint", name),
            "records": self.variable("btmm_records", name),
        }
        return {key: value for key, value in described.items() if value is not None}
