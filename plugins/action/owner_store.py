# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the owner's state on the controller, or remove one host from it. Nothing runs on a host."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.module_utils.names import check_label
from ansible_collections.btmm.fleet.plugins.module_utils.x509 import fingerprint
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "forget": {"type": "str"},
    }

    def perform(self) -> dict[str, Any]:
        """Make the state, or forget a host."""
        store = self.store()
        if self.options["state"] == "absent":
            if not self.options["forget"]:
                raise AnsibleActionFail(
                    f"{self.host}: state 'absent' removes one host's records; name it with 'forget'"
                )
            label = check_label(self.options["forget"])
            changed = store.forget(label)
            return {"changed": changed, **self._diff(f"{label}: enrolled\n", "")} if changed else {"changed": False}
        changed = store.init()
        result: dict[str, Any] = {
            "changed": changed,
            "directory": str(store.directory),
            "prefix": str(store.prefix),
            "ca_certificate": store.ca_certificate_pem,
            "ca_fingerprint": fingerprint(store.ca),
        }
        if changed:
            note = " (a stand-in: the real one is drawn when it is made)" if self.checking else ""
            after = (
                f"zone: {store.zone}\nprefix: {store.prefix}{note}\nowner CA: valid to {store.ca.not_valid_after_utc}\n"
            )
            result.update(self._diff("", after))
        return result

    def _diff(self, before: str, after: str) -> dict[str, Any]:
        header = f"owner's state of {self.options['zone']}"
        if not self.diffing:
            return {}
        return {"diff": [{"before_header": header, "after_header": header, "before": before, "after": after}]}
