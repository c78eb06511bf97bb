# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the zone says what its owner revoked."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: crl_records
short_description: The owner's list of revoked certificates as record sets
version_added: 0.1.0
description:
  - Makes the CERT record (RFC 4398, type PKIX) at C(_crl) below the zone, for M(btmm.fleet.dns_record_set), and beside
    it a TXT with its SHA-256. The daemons of the fleet follow the TXT by DNS Push, since a list soon is too long for a
    message of that, and then ask for the list.
options:
  _input: {description: "The list in PEM; two, while the owner's CA is changed.", type: str, required: true}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
record_sets: "{{ owner.crl | btmm.fleet.crl_records }}"
"""

RETURN = r"""
_value:
  description: Record sets, in the form of M(btmm.fleet.dns_record_set).
  type: list
  elements: dict
"""

import hashlib
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.btmm.fleet.plugins.module_utils import cert_record, pem
from ansible_collections.btmm.fleet.plugins.module_utils.bundle import split
from ansible_collections.btmm.fleet.plugins.module_utils.names import CRL_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

# Who asks after a loss gets what is in force; who is told by Push does not wait for it to run out.
TTL_LIST = 120


def crl_records(crl: str) -> list[dict[str, Any]]:
    """Return the record sets; AnsibleFilterError when it is no list."""
    try:
        lists = [pem.decode(pem.LIST, each) for each in split(crl) or [crl]]
    except ValueError as error:
        raise AnsibleFilterError(
            f"this is no list of revoked certificates ({error}): give what owner_store returns as crl"
        ) from None
    digests = [f'"sha256={hashlib.sha256(der).hexdigest()}"' for der in lists]
    return [
        {"name": CRL_LABEL, "type": "CERT", "ttl": TTL_LIST, "rdata": [cert_record.text(der) for der in lists]},
        {"name": CRL_LABEL, "type": "TXT", "ttl": TTL_LIST, "rdata": digests},
    ]


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"crl_records": crl_records}
