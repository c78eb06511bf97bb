# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the host's TSIG secret, which the owner store derives on the controller."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils.names import parse_zone, tsig_key_name
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import LABEL_OPTION, OWNER_OPTIONS, FleetAction


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        **LABEL_OPTION,
        "dest": {"type": "path", "required": True},
    }

    def perform(self) -> dict[str, Any]:
        """Hand the secret to file_set by the way that neither logs nor shows it."""
        dest, label, store = self.options["dest"], self.options["label"], self.store()
        result: dict[str, Any] = self._execute_module(
            module_name="btmm.fleet.file_set",
            module_args={
                "files": [{"dest": dest, "mode": "0600", "secret": True}],
                "directories": [{"path": dest.rpartition("/")[0]}],
                "secrets": {dest: store.tsig_secret(label) + "\n"},
            },
            task_vars=self.task_vars,
        )
        name = tsig_key_name(label, parse_zone(self.options["zone"]), store.tsig_generation(label))
        return {**result, "key_name": str(name)}
