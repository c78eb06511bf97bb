# SPDX-License-Identifier: GPL-3.0-or-later
"""The RFC 3779 address block extension: the IPv6 addresses that a certificate's key may use.

charon's ``addrblock`` plugin narrows a peer's traffic selectors to it, so that a host can claim its own ULA only.
"""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from cryptography.x509 import ExtensionNotFound, ObjectIdentifier, UnrecognizedExtension
from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1_modules import rfc3779

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

OID = ObjectIdentifier(str(rfc3779.id_pe_ipAddrBlocks))
# RFC 3779 section 2.2.3.3: the address family number of IPv6, without the optional SAFI octet.
AFI_IPV6 = b"\x00\x02"


def address_block(network: IPv6Network) -> UnrecognizedExtension:
    """Return the extension value that grants ``network`` and nothing else (RFC 3779 section 2.2.3)."""
    # A prefix is a BIT STRING of exactly its length: DER, and the canonical form that OpenSSL insists on.
    bits = f"{int(network.network_address) >> (128 - network.prefixlen):0{network.prefixlen}b}"
    item = rfc3779.IPAddressOrRange()
    item["addressPrefix"] = rfc3779.IPAddress(binValue=bits)
    family = rfc3779.IPAddressFamily()
    family["addressFamily"] = AFI_IPV6
    family["ipAddressChoice"]["addressesOrRanges"].append(item)
    blocks = rfc3779.IPAddrBlocks()
    blocks.append(family)
    return UnrecognizedExtension(OID, encoder.encode(blocks))


def granted_network(certificate: Certificate) -> IPv6Network | None:
    """Return the one IPv6 prefix that the certificate grants; None without one, or for a block of another shape."""
    try:
        value = certificate.extensions.get_extension_for_oid(OID).value
    except (ExtensionNotFound, ValueError):
        return None
    if not isinstance(value, UnrecognizedExtension):
        return None
    try:
        blocks, rest = decoder.decode(value.value, asn1Spec=rfc3779.IPAddrBlocks())
        (family,) = blocks
        (item,) = family["ipAddressChoice"]["addressesOrRanges"]
        bits = "".join(map(str, item["addressPrefix"]))
    except (PyAsn1Error, ValueError, TypeError, KeyError, IndexError):
        return None
    if rest or bytes(family["addressFamily"]) != AFI_IPV6 or not 0 < len(bits) <= 128:
        return None
    return IPv6Network((int(bits.ljust(128, "0"), 2), len(bits)))
