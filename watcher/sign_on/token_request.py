# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate request (PKCS #10, RFC 2986) that a token signs, for which openssl would need a driver of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import pem
from ansible_collections.btmm.fleet.plugins.module_utils.keyfiles import openssl
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import namedtype, tag, univ

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTEXT_0 = tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, 0)


class _RequestInfo(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - pyasn1's name
        namedtype.NamedType("version", univ.Integer()),
        namedtype.NamedType("subject", univ.Any()),
        namedtype.NamedType("subjectPKInfo", univ.Any()),
        namedtype.NamedType("attributes", univ.SetOf(componentType=univ.Any()).subtype(implicitTag=_CONTEXT_0)),
    )


class _Request(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - as above
        namedtype.NamedType("certificationRequestInfo", _RequestInfo()),
        namedtype.NamedType("signatureAlgorithm", univ.Any()),
        namedtype.NamedType("signature", univ.BitString()),
    )


def make(subject: str, public_key: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return a request (PEM) for an RSA key (SubjectPublicKeyInfo, DER).

    Args:
        subject: as openssl writes it, "/O=zone/CN=user".
        public_key: the key.
        sign: signs octets by RSASSA-PKCS1-v1_5 with SHA-256.

    Raises:
        KeyFileError: openssl fails.
    """
    # All but key and signature is as openssl has it for a key of the same kind, which is forgotten at once.
    key = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    form = openssl(
        "req", "-new", "-sha256", "-batch", "-subj", subject, "-key", "/dev/stdin", "-outform", "DER", given=key
    )
    request, _ = decoder.decode(form, asn1Spec=_Request())
    request["certificationRequestInfo"]["subjectPKInfo"] = public_key
    signature = sign(encoder.encode(request["certificationRequestInfo"]))
    request["signature"] = univ.BitString.fromOctetString(signature)
    return pem.encode(pem.REQUEST, encoder.encode(request)).encode()
