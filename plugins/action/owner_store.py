# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the owner's state on the controller, or remove one host from it. Nothing runs on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.module_utils.bind import ADMIN_LABEL
from ansible_collections.btmm.fleet.plugins.module_utils.names import check_label
from ansible_collections.btmm.fleet.plugins.module_utils.x509 import fingerprint
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "forget": {"type": "str"},
        "rotate": {"type": "list", "elements": "str", "default": []},
        "rotate_hosts": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self) -> dict[str, Any]:
        """Make the state, replace keys, or forget a host."""
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
        if self.options["rotate"] or self.options["rotate_hosts"]:
            return self._rotate(store)
        result: dict[str, Any] = {
            "changed": changed,
            "directory": str(store.directory),
            "prefix": str(store.prefix),
            "ca_certificate": store.ca_certificate_pem,
            "ca_fingerprint": fingerprint(store.ca),
            "crl": store.revocations.pem(),
        }
        if changed:
            note = " (a stand-in: the real one is drawn when it is made)" if self.checking else ""
            after = (
                f"zone: {store.zone}\nprefix: {store.prefix}{note}\nowner CA: valid to {store.ca.not_valid_after_utc}\n"
            )
            result.update(self._diff("", after))
        return result

    def _rotate(self, store: OwnerStore) -> dict[str, Any]:
        labels = [label if label == ADMIN_LABEL else check_label(label) for label in self.options["rotate"]]
        labels += map(self.label_of, self.options["rotate_hosts"])
        before = {label: store.tsig_generation(label) for label in labels}
        store.rotate(labels)
        old, new = (
            "".join(f"TSIG key of {label}: generation {before[label] + step}\n" for label in labels) for step in (0, 1)
        )
        return {"changed": True, **self._diff(old, new)}

    def _diff(self, before: str, after: str) -> dict[str, Any]:
        header = f"owner's state of {self.options['zone']}"
        if not self.diffing:
            return {}
        return {"diff": [{"before_header": header, "after_header": header, "before": before, "after": after}]}
