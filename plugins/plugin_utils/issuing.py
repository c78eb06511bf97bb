# SPDX-License-Identifier: GPL-3.0-or-later
"""What has a key made on the host, and a certificate signed here with the owner's CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ansible_collections.btmm.fleet.plugins.module_utils import bundle, crl, x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import LABEL_OPTION, OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

P = TypeVar("P", x509.Profile, x509.UserProfile)

ISSUING_OPTIONS: dict[str, dict[str, Any]] = {
    **OWNER_OPTIONS,
    **LABEL_OPTION,
    "days": {"type": "int", "default": 398},
    "renew": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


@dataclass(frozen=True, slots=True)
class Wanted(Generic[P]):
    """What a certificate shall say, and why a new one is needed (None: it is not)."""

    profile: P
    reason: str | None


class IssuingAction(FleetAction, Generic[P]):
    """An action whose module looks at the host first, and is run again only to install what was signed.

    The module returns ``request`` ('' without a key), ``certificate``, and, if it keeps them, ``ca_certificate`` and
    ``crl``; of the latter three it is given those that it returned.
    """

    MODULE: ClassVar[str]
    # What goes to the module on the host as it is.
    HOST_OPTIONS: ClassVar[Mapping[str, Mapping[str, Any]]]
    # Those of them that are not for the second run.
    FIRST_PASS: ClassVar[Collection[str]] = ()
    # What to do about a request that is none.
    REMEDY: ClassVar[str] = "delete the key file and run again"

    def perform(self) -> dict[str, Any]:
        """Look at the host, sign what must be signed, and install only when something has to be."""
        found = self._on_host()
        store = self.store()
        if found.get("failed") or self.options["state"] == "absent" or not self.is_asked(store, found):
            return found
        wanted = self._wanted(store, found)
        certificate, installed, diffs = found["certificate"], True, list(found.get("diff", []))
        if wanted.reason and self.checking:
            self._conflicts(store, wanted.profile, found)
            diffs.append(self._planned_diff(found["certificate"], wanted.profile))
        else:
            kept = self._kept(store, found)
            if wanted.reason:
                issued = store.sign(found["request"], wanted.profile, label=self.options["label"], host=self.host)
                certificate = issued.certificate
            installed = bool(wanted.reason) or any(found[name] != content for name, content in kept.items())
            if installed:
                done = self._on_host(certificate=certificate, **kept)
                if done.get("failed"):
                    return done
                diffs += self._diff(x509.describe(found["certificate"]), x509.describe(certificate))
                for name, content in kept.items():
                    describe = crl.describe if name == "crl" else x509.describe
                    before, after = ("".join(map(describe, bundle.split(text))) for text in (found[name], content))
                    diffs += self._diff(before, after) if before != after else []
            if "ca_certificate" in kept:
                store.authorities.note_holder(self.options["label"], wanted.profile.role)
        return {
            "changed": found["changed"] or installed,
            "reason": wanted.reason or "",
            "name": wanted.profile.name,
            **self.told(wanted.profile, found, installed=installed),
            **self._facts(certificate),
            **({"diff": diffs} if self.diffing else {}),
        }

    @property
    def rsa_keys(self) -> bool:
        """Whether a request may come from an RSA key, too."""
        return False

    def is_asked(self, _store: OwnerStore, _found: Mapping[str, Any], /) -> bool:
        """Return whether there is something to sign for; else the module's result is the action's."""
        return True

    def profile(self, store: OwnerStore, key_der: bytes | None, found: Mapping[str, Any], /) -> P:
        """Return what the certificate shall say; ``key_der`` is None when there is no key yet (check mode)."""
        raise NotImplementedError

    def told(self, profile: P, found: Mapping[str, Any], /, *, installed: bool) -> dict[str, Any]:
        """Return what else the result says; ``installed``: certificates or the list were (would be) replaced."""
        raise NotImplementedError

    def certificate_path(self) -> str:
        """Return where the certificate is on the host."""
        raise NotImplementedError

    def stand_in(self) -> bytes:
        """Return what to hash in the place of a key that is not there yet: no host's real one."""
        return f"planned {self.options['label']}".encode()

    def _wanted(self, store: OwnerStore, found: dict[str, Any]) -> Wanted[P]:
        key_der = self._public_key(found["request"])
        profile = self.profile(store, key_der, found)
        reason = x509.reason_to_issue(found["certificate"], key_der or self.stand_in(), profile, store.ca)
        if reason is None:
            record = store.enrolment(self.options["label"], profile.role)
            if record is None or record.serial != self._facts(found["certificate"])["serial"]:
                reason = "the owner has no record of it"
            elif store.revocations.holds(record.serial):
                reason = "it was revoked"
        if reason is None and self.options["renew"]:
            reason = "a new one is asked for"
        return Wanted(profile, reason)

    @staticmethod
    def _kept(store: OwnerStore, found: Mapping[str, Any]) -> dict[str, str]:
        """Return the CA and the list of what that revoked, as the host should have them, if it keeps them."""
        kept = {"ca_certificate": store.ca_certificate_pem} if "ca_certificate" in found else {}
        if "crl" in found:
            kept["crl"] = store.revocations.pem()
        return kept

    def _conflicts(self, store: OwnerStore, profile: P, found: dict[str, Any]) -> None:
        """In check mode nothing is signed, but a label or key of another host is told all the same."""
        key_der = self._public_key(found["request"])
        if key_der:
            store.check(self.options["label"], profile.role, self.host, key_der)

    def _on_host(self, **contents: str) -> dict[str, Any]:
        left_out = self.FIRST_PASS if contents else ()
        arguments = {name: self.options[name] for name in (*self.HOST_OPTIONS, "state") if name not in left_out}
        result: dict[str, Any] = self._execute_module(
            module_name=self.MODULE, module_args={**arguments, **contents}, task_vars=self.task_vars
        )
        if result.get("failed"):
            result["msg"] = f"{self.host}: {result.get('msg', 'the module failed')}"
        return result

    def _planned_diff(self, before: str, profile: P) -> dict[str, str]:
        end = (datetime.now(UTC) + timedelta(days=profile.days)).isoformat(timespec="seconds")
        after = x509.describe_fields(profile.subject, profile.alternative_names or (), profile.block, end)
        (diff,) = self._diff(x509.describe(before), after)
        return diff

    def _diff(self, before: str, after: str) -> list[dict[str, str]]:
        header = self.certificate_path()
        return [{"before_header": header, "after_header": header, "before": before, "after": after}]

    @staticmethod
    def _facts(pem: str) -> dict[str, str]:
        return {"certificate": pem, **x509.summary(pem)}

    def _public_key(self, request_pem: str) -> bytes | None:
        """Return the key of the request (DER), None when the host has no key yet."""
        if not request_pem:
            return None
        try:
            return x509.spki(x509.load_request(request_pem, rsa=self.rsa_keys))
        except x509.BadRequest as error:
            raise OwnerError(f"{error}; {self.REMEDY}") from None
