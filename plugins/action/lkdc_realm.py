# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a host a Kerberos realm of its own: made on the host, its KDC's certificate signed here with the owner's CA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import realm_of
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_settle import REALM_OPTIONS
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.plugin_utils.issuing import ISSUING_OPTIONS, IssuingAction

if TYPE_CHECKING:
    from collections.abc import Mapping


class ActionModule(IssuingAction[x509.Profile]):
    """See the module's documentation."""

    MODULE = "btmm.fleet.lkdc_realm"
    HOST_OPTIONS = REALM_OPTIONS
    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {**ISSUING_OPTIONS, **REALM_OPTIONS}
    # No principal waits for a certificate, and `rotate` is for once.
    FIRST_PASS = ("principals",)

    def profile(self, store: OwnerStore, key_der: bytes | None, found: Mapping[str, Any]) -> x509.Profile:
        """Return what the KDC's certificate shall say.

        Raises:
            OwnerError: the anchor is not the host's own.
        """
        return x509.Profile(
            name=f"{self.options['label']}.{store.zone}",
            realm=self._realm(key_der, found["anchor"]),
            days=self.options["days"],
        )

    def told(self, profile: x509.Profile, found: Mapping[str, Any], /, *, installed: bool) -> dict[str, Any]:
        """Return the realm, and what of it changed."""
        return {
            "realm": profile.realm,
            "realm_changed": found["realm_changed"] or installed,
            "changed_principals": found["changed_principals"],
            "keytab_changed": found["keytab_changed"],
        }

    def certificate_path(self) -> str:
        """Return where the certificate is on the host."""
        return f"{self.options['directory']}/kdc.pem"

    def _realm(self, key_der: bytes | None, anchor_pem: str) -> str:
        # Without an anchor the host is one that was stopped between the two: a run that is no rehearsal makes it first.
        if key_der is None or (self.checking and not anchor_pem):
            return realm_of(self.stand_in())
        # Anchors are public. Without this a host could have itself made the KDC of another host's realm.
        anchor = x509.self_signed(anchor_pem)
        if anchor is None or x509.spki(anchor) != key_der:
            raise OwnerError(
                f"the anchor in {self.options['directory']} is not one that the key beside it signed; restore both "
                "from one backup, or remove the realm (state: absent) to get a new one"
            )
        return realm_of(x509.to_der(anchor))
