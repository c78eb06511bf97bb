# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells of its Kerberos realm in the zone: the name, and the certificate that proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from . import cert_record, pem
from .krb5_names import realm_of

if TYPE_CHECKING:
    from pathlib import Path

    from dns.rdata import Rdata


@dataclass(frozen=True, slots=True)
class Realm:
    """A host's realm, and its KDC's certificate (DER). A TXT alone is anybody's word."""

    name: str
    certificate: bytes

    def rdatas(self) -> tuple[Rdata, Rdata]:
        """Return the TXT that Kerberos clients know, and the certificate."""
        kind = dns.rdataclass.IN
        return (
            TXT(kind, dns.rdatatype.TXT, [self.name.encode()]),
            dns.rdata.from_text(kind, dns.rdatatype.CERT, cert_record.text(self.certificate)),
        )


def read_realm(directory: Path) -> Realm | None:
    """Return the realm that `lkdc_realm` made in a folder; None when it is not there, or not whole.

    Raises:
        ValueError: a file is damaged.
        OSError: a file cannot be read.
    """
    try:
        anchor, certificate = ((directory / name).read_text(encoding="ascii") for name in ("anchor.pem", "kdc.pem"))
    except FileNotFoundError:
        return None
    return Realm(realm_of(pem.decode(pem.CERTIFICATE, anchor)), pem.decode(pem.CERTIFICATE, certificate))
