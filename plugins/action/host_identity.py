# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a host its key and certificate: the key is made on the host, the certificate signed here with the owner's CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import LABEL_OPTION, OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

# What goes to the module on the host as it is.
HOST_OPTIONS: dict[str, dict[str, Any]] = {
    "key_path": {"type": "path", "required": True},
    "certificate_path": {"type": "path", "required": True},
    "ca_path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0600"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What this host's certificate shall say, and why a new one is needed (None: it is not)."""

    profile: x509.Profile
    reason: str | None


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        **LABEL_OPTION,
        **HOST_OPTIONS,
        "role": {"type": "str", "choices": ["host", "server"], "default": "host"},
        "addresses": {"type": "list", "elements": "str", "default": []},
        "days": {"type": "int", "default": 398},
        "renew": {"type": "bool", "default": False},
    }

    def perform(self) -> dict[str, Any]:
        """Look at the host, sign what must be signed, and install only when something has to be."""
        found = self._on_host()
        if found.get("failed") or self.options["state"] == "absent":
            return found
        store = self.store()
        wanted = self._wanted(store, found)
        certificate, changed, diffs = found["certificate"], found["changed"], list(found.get("diff", []))
        if wanted.reason and self.checking:
            self._conflicts(store, found)
            changed = True
            diffs.append(self._planned_diff(found["certificate"], wanted.profile))
        elif wanted.reason or found["ca_certificate"] != store.ca_certificate_pem:
            if wanted.reason:
                issued = store.sign(found["request"], wanted.profile, label=self.options["label"], host=self.host)
                certificate = issued.certificate
            done = self._on_host(certificate=certificate, ca_certificate=store.ca_certificate_pem)
            if done.get("failed"):
                return done
            changed = True
            diffs += self._diff(x509.describe(found["certificate"]), x509.describe(certificate))
        return {
            "changed": changed,
            "reason": wanted.reason or "",
            "ula": str(wanted.profile.ula or ""),
            "name": wanted.profile.name,
            **self._facts(certificate),
            **({"diff": diffs} if self.diffing else {}),
        }

    def _wanted(self, store: OwnerStore, found: dict[str, Any]) -> _Wanted:
        label, role = self.options["label"], self.options["role"]
        addresses = self._addresses()
        # Without a key yet (check mode) there is nothing to hash: a stand-in that is no host's real address.
        key_der = _public_key(found["request"]) or f"planned {label}".encode()
        profile = x509.Profile(
            name=f"{label}.{store.zone}",
            ula=store.address(key_der) if role == "host" else None,
            addresses=addresses,
            days=self.options["days"],
        )
        reason = x509.reason_to_issue(found["certificate"], key_der, profile, store.ca)
        if reason is None:
            record = store.enrolment(label, role)
            if record is None or record.serial != self._facts(found["certificate"])["serial"]:
                reason = "the owner has no record of it"
        if reason is None and self.options["renew"]:
            reason = "a new one is asked for"
        return _Wanted(profile, reason)

    def _conflicts(self, store: OwnerStore, found: dict[str, Any]) -> None:
        """In check mode nothing is signed, but a label or key of another host is told all the same."""
        key_der = _public_key(found["request"])
        if key_der:
            store.check(self.options["label"], self.options["role"], self.host, key_der)

    def _on_host(self, **contents: str) -> dict[str, Any]:
        arguments = {name: self.options[name] for name in HOST_OPTIONS}
        result: dict[str, Any] = self._execute_module(
            module_name="btmm.fleet.host_identity", module_args={**arguments, **contents}, task_vars=self.task_vars
        )
        if result.get("failed"):
            result["msg"] = f"{self.host}: {result.get('msg', 'the module failed')}"
        return result

    def _addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        try:
            return tuple(x509.parse_address(text) for text in self.options["addresses"])
        except ValueError as error:
            raise OwnerError(f"{error}; correct 'addresses'") from None

    def _planned_diff(self, before: str, profile: x509.Profile) -> dict[str, str]:
        end = (datetime.now(UTC) + timedelta(days=profile.days)).isoformat(timespec="seconds")
        names = [str(name.value) for name in profile.alternative_names]
        (diff,) = self._diff(x509.describe(before), x509.describe_fields(profile.subject, names, profile.block, end))
        return diff

    def _diff(self, before: str, after: str) -> list[dict[str, str]]:
        header = self.options["certificate_path"]
        return [{"before_header": header, "after_header": header, "before": before, "after": after}]

    @staticmethod
    def _facts(pem: str) -> dict[str, str]:
        return {"certificate": pem, **x509.summary(pem)}


def _public_key(request_pem: str) -> bytes | None:
    """Return the key of the request (DER), None when the host has no key yet."""
    if not request_pem:
        return None
    try:
        return x509.spki(x509.load_request(request_pem))
    except x509.BadRequest as error:
        raise OwnerError(f"{error}; delete the key file and run again") from None
