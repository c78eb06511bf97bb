# SPDX-License-Identifier: GPL-3.0-or-later
"""The CERT record (RFC 4398) of what is in X.509: a certificate, or a list of those that were revoked."""

from __future__ import annotations

import base64

PKIX = 1  # section 2.1


def text(der: bytes) -> str:
    """Return the record's data as zone files have it.

    Key tag and algorithm are 0, as for what is no key of the DNS (section 2).
    """
    return f"PKIX 0 0 {base64.b64encode(der).decode()}"
