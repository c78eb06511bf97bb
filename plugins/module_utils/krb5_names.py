# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of a Local KDC: its realm, the services' principals, the users and their certificates.

Standard library only, since it runs on hosts, too.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# What Apple's LKDC had keys for; a realm has each twice, see `service_principals`.
SERVICES = ("host", "cifs", "afpserver", "vnc", "HTTP", "nfs")
MAX_ORGANIZATION = 64  # RFC 5280 appendix A, ub-organization-name

_REALM = re.compile(r"LKDC:SHA1\.[0-9A-F]{40}")
_SERVICE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
# The first components of principals that a realm has for itself; "K" holds the master key.
RESERVED = ("K", "kadmin", "kiprop", "krbtgt")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
# As useradd takes them. No dot: OpenSSL would take the CN for a DNS name, and the CA's name constraints would bar it.
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


class InvalidPrincipal(ValueError):
    """This cannot be a realm, a service or a user: one sentence with the fix."""


def realm_of(anchor_der: bytes) -> str:
    """Return the realm of the host with this anchor certificate (DER): Apple's rule, ``LKDC:SHA1.`` and 40 digits.

    SHA-1 only makes the name here; what a client trusts is the KDC's certificate, see ``docs/architecture.md``.
    """
    return f"LKDC:SHA1.{hashlib.sha1(anchor_der, usedforsecurity=False).hexdigest().upper()}"


def is_local(realm: str) -> bool:
    """Whether it is a Local KDC's realm."""
    return bool(_REALM.fullmatch(realm))


def check_name(text: str) -> str:
    """Return a host's or a zone's name in the form that principals and certificates have: lower case, no final dot.

    Raises:
        InvalidPrincipal: it is no name of two or more labels (letters, digits, inner hyphens).
    """
    name = text.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise InvalidPrincipal(f"'{text}' is no name in the DNS; write it as in 'imac.bob.members.example'")
    return name


def service_principals(services: Iterable[str], realm: str, name: str) -> list[str]:
    """Return the principals, without ``@realm``, of the services of the host ``name`` (as ``check_name`` returns it).

    Each service has two: ``svc/REALM`` is Apple's; ``svc/NAME`` is what a GSS-API host-based service becomes (RFC 4120
    section 6.2.1), which all of MIT's clients ask for.

    Raises:
        InvalidPrincipal: a service's name is not one, or is the realm's own.
    """
    names = []
    for service in dict.fromkeys(services):
        if not _SERVICE.fullmatch(service) or service in RESERVED:
            raise InvalidPrincipal(f"'{service}' is no name of a service; write it as in 'host' or 'HTTP'")
        names += [f"{service}/{realm}", f"{service}/{name}"]
    return names


def check_user(user: str) -> str:
    """Return ``user``, a name for a user's principal and certificate.

    Raises:
        InvalidPrincipal: a character that cannot be in both.
    """
    if not _USER.fullmatch(user):
        raise InvalidPrincipal(
            f"'{user}' cannot be a user of the fleet; use at most 32 of a-z, 0-9, '_' and '-', and begin with a letter"
        )
    return user


def user_organization(zone: str) -> str:
    """Return the O of the certificates of a zone's users (``zone`` without final dot): the zone, or what fits of it."""
    return zone[-MAX_ORGANIZATION:]


def user_rule(user: str, zone: str) -> str:
    """Return MIT's ``pkinit_cert_match`` rule for the user's principal: his subject, in a certificate for clients.

    MIT compares the subject in encoded order, joined by commas. The issuer needs no rule: the KDC trusts one CA only.

    Raises:
        InvalidPrincipal: as ``check_user``.
    """
    organization = re.escape(user_organization(zone)).replace(r"\-", "-")
    return f"<SUBJECT>^O={organization},CN={check_user(user)}$<EKU>clientAuth"
