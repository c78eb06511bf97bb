# SPDX-License-Identifier: GPL-3.0-or-later
"""Revoke certificates in the owner's state and sign the list that says so. Nothing runs on a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import crl
from ansible_collections.btmm.fleet.plugins.module_utils.names import check_label
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError
from ansible_collections.btmm.fleet.plugins.module_utils.owner_revocations import of_enrolment, of_serial
from ansible_collections.btmm.fleet.plugins.module_utils.registry import USER_ROLE
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.crl import Revoked
    from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificates: a host's with its server's, its KDC's and its users', or a user's on all hosts."""

    name: str
    is_user: bool

    def owns(self, label: str, role: str) -> bool:
        """Tell whether a certificate of this label and role is one of these."""
        return role == f"{USER_ROLE}{self.name}" if self.is_user else label == self.name

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        return f"{'user' if self.is_user else 'host'} '{self.name}'"


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        "hosts": {"type": "list", "elements": "str", "default": []},
        "users": {"type": "list", "elements": "str", "default": []},
        "serials": {"type": "list", "elements": "str", "default": []},
        "reason": {"type": "str", "choices": list(crl.REASONS), "default": "key_compromise"},
    }

    def perform(self) -> dict[str, Any]:
        """Find all certificates first, so that a wrong name revokes nothing."""
        store = self.store()
        holders = [Holder(check_label(text), is_user=False) for text in self.options["hosts"]]
        holders += [Holder(text, is_user=True) for text in self.options["users"]]
        wanted = [each for holder in holders for each in self._certificates(store, holder)]
        wanted += [
            of_serial(text, store.enrolments(), self.options["reason"], store.ca.not_valid_after_utc)
            for text in self.options["serials"]
        ]
        fresh = store.revocations.add(wanted)
        left = [store.forget(holder.name, self.options["reason"]) for holder in holders if not holder.is_user]
        pem = store.revocations.pem(planned=fresh)
        after = "".join(f"{each.serial} ({each.role} {each.label}): {self.options['reason']}\n" for each in fresh)
        header = f"certificates of {store.zone} that are revoked"
        diff = {"before_header": header, "after_header": header, "before": "", "after": after}
        return {
            "changed": bool(fresh) or any(left),
            "revoked": [{"serial": each.serial, "label": each.label, "role": each.role} for each in fresh],
            "crl": pem,
            **({"diff": [diff]} if self.diffing and fresh else {}),
        }

    def _certificates(self, store: OwnerStore, holder: Holder) -> list[Revoked]:
        records = [each for each in store.enrolments() if holder.owns(each.label, each.role)]
        known = any(holder.owns(each.label, each.role) for each in store.revocations.all())
        if not records and not known:
            raise OwnerError(f"no certificate was issued to {holder}; see the names in {store.directory / 'hosts'}")
        return [each for record in records for each in of_enrolment(record, self.options["reason"])]
