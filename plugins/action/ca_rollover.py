# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one step from the owner's CA to the next. Nothing runs on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
    from ansible_collections.btmm.fleet.plugins.module_utils.owner_authorities import Authorities


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        "step": {"type": "str", "choices": ["begin", "issue", "retire", "abandon"], "required": True},
        "force": {"type": "bool", "default": False},
    }

    def perform(self) -> dict[str, Any]:
        """Take the step, unless it was taken."""
        store = self.store()
        store.unlock()
        before, former = _text(store.authorities), store.authorities.stage
        changed = self._step(store)
        authorities = self.store().authorities
        header = f"owner CA of {store.zone}"
        diff = {"before_header": header, "after_header": header, "before": before, "after": _text(authorities)}
        going_on = authorities.stage is not None
        return {
            "changed": changed,
            "former_stage": former.name if former else "",
            "stage": authorities.stage.name if authorities.stage else "",
            "lacking": authorities.lacking() if going_on else [],
            "outdated": authorities.outdated() if going_on else [],
            **({"diff": [diff]} if self.diffing and changed else {}),
        }

    def _step(self, store: OwnerStore) -> bool:
        if self.options["step"] == "begin":
            return store.authorities.begin(store.zone, store.prefix)
        if self.options["step"] == "issue":
            return store.authorities.issue(force=self.options["force"])
        if self.options["step"] == "abandon":
            return store.authorities.abandon()
        # Its list has to be there before it is the only one.
        store.revocations.pem()
        return store.authorities.retire(force=self.options["force"])


def _text(authorities: Authorities) -> str:
    lines = []
    for each in authorities.anchors:
        signs = ", signs" if each is authorities.issuing else ""
        lines.append(f"{each.certificate.subject.rfc4514_string()}{signs}\n")
    return "".join(lines)
