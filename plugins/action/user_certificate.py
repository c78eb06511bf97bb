# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a user of the zone a certificate: he made the key on the host, it is signed here with the owner's CA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import InvalidPrincipal, check_user
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.module_utils.registry import USER_ROLE, key_fingerprint
from ansible_collections.btmm.fleet.plugins.plugin_utils.issuing import ISSUING_OPTIONS, IssuingAction

if TYPE_CHECKING:
    from collections.abc import Mapping


class ActionModule(IssuingAction[x509.UserProfile]):
    """See the module's documentation."""

    MODULE = "btmm.fleet.user_certificate"
    HOST_OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "zone": {"type": "str"},
        "user": {"type": "str", "required": True},
    }
    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **ISSUING_OPTIONS,
        **HOST_OPTIONS,
        "known": {"type": "bool", "default": False},
    }
    REMEDY = "have the user run 'btmm login --new'"

    def perform(self) -> dict[str, Any]:
        """Do nothing for a stranger, whatever he left on the host."""
        try:
            user = check_user(self.options["user"])
        except InvalidPrincipal as error:
            raise OwnerError(str(error)) from None
        listed = self.variable("btmm_users") or []
        if self.options["state"] == "present" and user not in {each["name"] for each in listed}:
            raise OwnerError(f"'{user}' is no user of {self.options['zone']}; list him in btmm_users first")
        return super().perform()

    @property
    def rsa_keys(self) -> bool:
        """Tokens have them."""
        return x509.UserProfile.rsa_keys

    def is_asked(self, store: OwnerStore, found: Mapping[str, Any], /) -> bool:
        """Return whether the user made a key on this host, and if only known ones count, whether it is one."""
        return bool(found["asked"]) and (not self.options["known"] or self._is_known(store, found["request"]))

    def profile(self, store: OwnerStore, _key_der: bytes | None, _found: Mapping[str, Any], /) -> x509.UserProfile:
        """Return what the user's certificate shall say; the name comes from the inventory alone."""
        return x509.UserProfile(self.options["user"], store.zone, self.options["days"])

    def told(self, _profile: x509.UserProfile, found: Mapping[str, Any], /, *, installed: bool) -> dict[str, Any]:  # noqa: ARG002
        """Return whose key it is, in the way in which the user can compare it."""
        key_der = x509.spki(x509.load_request(found["request"], rsa=self.rsa_keys))
        return {"asked": True, "key_fingerprint": key_fingerprint(key_der)}

    def certificate_path(self) -> str:
        """Return whose certificate it is; where his home is, is the host's affair."""
        return f"certificate of {self.options['user']}"

    def _is_known(self, store: OwnerStore, request: str) -> bool:
        """Tell whether the owner signed for this very key here, and has not revoked that."""
        record = store.enrolment(self.options["label"], f"{USER_ROLE}{self.options['user']}")
        if record is None or store.revocations.holds(record.serial):
            return False
        try:
            key = self._public_key(request)
        except OwnerError:
            return False  # what is no request is no key that was signed for
        return key is not None and key_fingerprint(key) == record.key
