# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner's certificates say of machines and of users."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import ClassVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import krb5_names, krb5_san
from .registry import USER_ROLE

# RFC 4945 section 5.1.3.12 and RFC 5280: IKE peers look for this purpose, or for none.
IPSEC_IKE = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.17")
# RFC 5280 appendix A, ub-common-name. A longer name stands in the SAN alone.
MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Profile:
    """What the certificate of a machine shall say.

    ``name`` has no final dot. ``ula`` is the fleet host's address, also its RFC 3779 block; a zone host has none, but
    the addresses it is reached at; a host's KDC has neither, but its ``realm``. ``days`` is the certificate's life,
    ``rsa_keys`` whether it may be for an RSA key, as a host needs it beside racoon.
    """

    name: str
    ula: IPv6Address | None = None
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    days: int = 398
    realm: str | None = None
    rsa_keys: bool = False

    @property
    def role(self) -> str:
        """'host' for a machine of the fleet, 'kdc' for its KDC, 'server' for a zone host."""
        if self.realm:
            return "kdc"
        return "host" if self.ula else "server"

    @property
    def subject(self) -> x509.Name:
        """The distinguished name: the host's name, where it fits."""
        return common_name(self.name)

    @property
    def alternative_names(self) -> x509.SubjectAlternativeName:
        """DNS name, then addresses, then the KDC's principal."""
        addresses = (*([self.ula] if self.ula else []), *self.addresses)
        names: list[x509.GeneralName] = [x509.DNSName(self.name), *map(x509.IPAddress, addresses)]
        return x509.SubjectAlternativeName(names + ([krb5_san.kdc_name(self.realm)] if self.realm else []))

    @property
    def purposes(self) -> tuple[x509.ObjectIdentifier, ...]:
        """Server; a fleet host also client and IKE, a KDC also what RFC 4556 section 3.2.4 wants."""
        if self.realm:
            return ExtendedKeyUsageOID.SERVER_AUTH, krb5_san.KP_KDC
        both = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
        return (*both, IPSEC_IKE) if self.ula else both[:1]

    @property
    def block(self) -> IPv6Network | None:
        """What RFC 3779 shall grant."""
        return IPv6Network(self.ula) if self.ula else None


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What the certificate of a user shall say: who he is in the zone, whatever host his key is on.

    ``zone`` has no final dot. There is no alternative name: a KRB5PrincipalName would bind him to one host's realm,
    and each KDC knows him by his subject (see ``krb5_names.user_rule``).
    """

    name: str
    zone: str
    days: int = 398

    # A token's: MIT krb5 (1.20, 1.21) signs there by no other kind.
    rsa_keys: ClassVar[bool] = True
    # What machines have.
    alternative_names: ClassVar[None] = None
    block: ClassVar[None] = None

    @property
    def role(self) -> str:
        """A host holds one certificate for each of its users."""
        return f"{USER_ROLE}{self.name}"

    @property
    def subject(self) -> x509.Name:
        """Organization, then common name: MIT's KDC compares them in this order."""
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, krb5_names.user_organization(self.zone)),
                x509.NameAttribute(NameOID.COMMON_NAME, self.name),
            ]
        )

    @property
    def purposes(self) -> tuple[x509.ObjectIdentifier, ...]:
        """Client of TLS, and of a KDC (RFC 4556 section 3.2.1)."""
        return ExtendedKeyUsageOID.CLIENT_AUTH, krb5_san.KP_CLIENT_AUTH


AnyProfile = Profile | UserProfile


def common_name(text: str) -> x509.Name:
    """Return the distinguished name that is ``text``, or what fits of it."""
    if len(text) > MAX_COMMON_NAME:
        # The name still has to be one, and not empty: RFC 5280 section 4.1.2.6. Its tail says whose it is.
        text = text[-MAX_COMMON_NAME:].partition(".")[2] or text[-MAX_COMMON_NAME:]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
