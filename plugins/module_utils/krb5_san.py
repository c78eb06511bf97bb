# SPDX-License-Identifier: GPL-3.0-or-later
"""KRB5PrincipalName, the alternative name that binds a KDC's certificate to its realm (RFC 4556 section 3.2.2)."""

from __future__ import annotations

from cryptography.x509 import ObjectIdentifier, OtherName

from . import krb5_principal

PKINIT_SAN = ObjectIdentifier(krb5_principal.PKINIT_SAN)
# RFC 4556 sections 3.2.2 and 3.2.4: what the certificates of users and of KDCs are for.
KP_CLIENT_AUTH = ObjectIdentifier("1.3.6.1.5.2.3.4")
KP_KDC = ObjectIdentifier("1.3.6.1.5.2.3.5")


def kdc_name(realm: str) -> OtherName:
    """Return the alternative name of the realm's KDC: ``krbtgt/REALM@REALM``."""
    return OtherName(PKINIT_SAN, krb5_principal.encode_kdc(realm))


def principal_of(name: OtherName) -> str | None:
    """Return ``component/component@REALM``; None for another kind of name, and for what is damaged."""
    return krb5_principal.decode(name.value) if name.type_id == PKINIT_SAN else None
