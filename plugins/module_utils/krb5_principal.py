# SPDX-License-Identifier: GPL-3.0-or-later
"""KRB5PrincipalName (RFC 4556 section 3.2.2) as octets, and which ones a certificate has: pyasn1 only, for daemons."""

from __future__ import annotations

from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import char, namedtype, tag, univ

PKINIT_SAN = "1.3.6.1.5.2.2"
_ALTERNATIVE_NAMES = "2.5.29.17"  # RFC 5280 section 4.2.1.6
_SERVICE_INSTANCE = 2  # NT-SRV-INST, the name type of krbtgt (RFC 4120 section 6.2)
# What pyasn1 raises for octets that are not what they should be.
_DAMAGED = (PyAsn1Error, ValueError, TypeError, KeyError, IndexError, AttributeError)


def _tag(number: int, form: int = tag.tagFormatConstructed) -> tag.Tag:
    return tag.Tag(tag.tagClassContext, form, number)


class _NameString(univ.SequenceOf):  # type: ignore[misc]
    componentType = char.GeneralString()  # noqa: N815 - pyasn1's name


class _PrincipalName(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("name-type", univ.Integer().subtype(explicitTag=_tag(0))),
        namedtype.NamedType("name-string", _NameString().subtype(explicitTag=_tag(1))),
    )


class _KRB5PrincipalName(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("realm", char.GeneralString().subtype(explicitTag=_tag(0))),
        namedtype.NamedType("principalName", _PrincipalName().subtype(explicitTag=_tag(1))),
    )


class _OtherName(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("type-id", univ.ObjectIdentifier()),
        namedtype.NamedType("value", univ.Any().subtype(explicitTag=_tag(0))),
    )


class _GeneralName(univ.Choice):  # type: ignore[misc]
    # RFC 5280 section 4.2.1.6, the kinds that the owner's CA writes.
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("otherName", _OtherName().subtype(implicitTag=_tag(0))),
        namedtype.NamedType("dNSName", char.IA5String().subtype(implicitTag=_tag(2, tag.tagFormatSimple))),
        namedtype.NamedType("iPAddress", univ.OctetString().subtype(implicitTag=_tag(7, tag.tagFormatSimple))),
    )


class _GeneralNames(univ.SequenceOf):  # type: ignore[misc]
    componentType = _GeneralName()  # noqa: N815 - as above


def encode_kdc(realm: str) -> bytes:
    """Return the name of the realm's KDC, ``krbtgt/REALM@REALM``, DER."""
    name = _KRB5PrincipalName()
    name["realm"] = realm
    name["principalName"]["name-type"] = _SERVICE_INSTANCE
    name["principalName"]["name-string"].extend(["krbtgt", realm])
    return bytes(encoder.encode(name))


def decode(octets: bytes) -> str | None:
    """Return ``component/component@REALM``; None for what is damaged."""
    try:
        value, rest = decoder.decode(octets, asn1Spec=_KRB5PrincipalName())
        components = [str(component) for component in value["principalName"]["name-string"]]
        realm = str(value["realm"])
    except _DAMAGED:
        return None
    return None if rest else f"{'/'.join(components)}@{realm}"


def principals(certificate_der: bytes) -> list[str]:
    """Return the principals that a certificate names; none for what is no certificate, or has other kinds of names.

    Whether to believe them is another question: nothing is verified here.
    """
    found = []
    try:
        certificate, _ = decoder.decode(certificate_der)
        body = certificate[0]
        extensions = body[len(body) - 1]  # the last field of TBSCertificate, RFC 5280 section 4.1
        for number in range(len(extensions)):
            extension = extensions[number]
            if str(extension[0]) == _ALTERNATIVE_NAMES:
                names, _ = decoder.decode(bytes(extension[len(extension) - 1]), asn1Spec=_GeneralNames())
                others = [name["otherName"] for name in names if name.getName() == "otherName"]
                found += [decode(bytes(other["value"])) for other in others if str(other["type-id"]) == PKINIT_SAN]
    except _DAMAGED:
        return []
    return [name for name in found if name is not None]
