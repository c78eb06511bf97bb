# SPDX-License-Identifier: GPL-3.0-or-later
"""KRB5PrincipalName, the alternative name that binds a KDC's certificate to its realm (RFC 4556 section 3.2.2)."""

from __future__ import annotations

from cryptography.x509 import ObjectIdentifier, OtherName
from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import char, namedtype, tag, univ

PKINIT_SAN = ObjectIdentifier("1.3.6.1.5.2.2")
# RFC 4556 sections 3.2.2 and 3.2.4: what the certificates of users and of KDCs are for.
KP_CLIENT_AUTH = ObjectIdentifier("1.3.6.1.5.2.3.4")
KP_KDC = ObjectIdentifier("1.3.6.1.5.2.3.5")
_SERVICE_INSTANCE = 2  # NT-SRV-INST, the name type of krbtgt (RFC 4120 section 6.2)


def _explicit(number: int) -> tag.Tag:
    return tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, number)


class _NameString(univ.SequenceOf):  # type: ignore[misc]
    componentType = char.GeneralString()  # noqa: N815 - pyasn1's name


class _PrincipalName(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("name-type", univ.Integer().subtype(explicitTag=_explicit(0))),
        namedtype.NamedType("name-string", _NameString().subtype(explicitTag=_explicit(1))),
    )


class _KRB5PrincipalName(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("realm", char.GeneralString().subtype(explicitTag=_explicit(0))),
        namedtype.NamedType("principalName", _PrincipalName().subtype(explicitTag=_explicit(1))),
    )


def kdc_name(realm: str) -> OtherName:
    """Return the alternative name of the realm's KDC: ``krbtgt/REALM@REALM``."""
    name = _KRB5PrincipalName()
    name["realm"] = realm
    name["principalName"]["name-type"] = _SERVICE_INSTANCE
    name["principalName"]["name-string"].extend(["krbtgt", realm])
    return OtherName(PKINIT_SAN, encoder.encode(name))


def principal_of(name: OtherName) -> str | None:
    """Return ``component/component@REALM``; None for another kind of name, and for what is damaged."""
    if name.type_id != PKINIT_SAN:
        return None
    try:
        value, rest = decoder.decode(name.value, asn1Spec=_KRB5PrincipalName())
        components = [str(component) for component in value["principalName"]["name-string"]]
        realm = str(value["realm"])
    except (PyAsn1Error, ValueError, TypeError, KeyError, IndexError):
        return None
    return None if rest else f"{'/'.join(components)}@{realm}"
