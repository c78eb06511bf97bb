# SPDX-License-Identifier: GPL-3.0-or-later
"""PEM (RFC 7468): the octets of a block of text, and the other way round; standard library only."""

from __future__ import annotations

import base64

CERTIFICATE = "CERTIFICATE"
ENCRYPTED_KEY = "ENCRYPTED PRIVATE KEY"
LIST = "X509 CRL"
PUBLIC_KEY = "PUBLIC KEY"
REQUEST = "CERTIFICATE REQUEST"

_COLUMNS = 64  # section 2


def decode(label: str, text: str) -> bytes:
    """Return what the first block with a label holds (DER); what stands around it is an explanation (section 5.2).

    Raises:
        ValueError: there is none, or it is damaged.
    """
    _, _, rest = text.partition(f"-----BEGIN {label}-----")
    body, end, _ = rest.partition(f"-----END {label}-----")
    if not end:
        raise ValueError(f"it has no {label} in PEM")
    return base64.b64decode("".join(body.split()), validate=True)


def encode(label: str, der: bytes) -> str:
    """Return octets (DER) as a block with a label."""
    body = base64.b64encode(der).decode()
    lines = [body[at : at + _COLUMNS] for at in range(0, len(body), _COLUMNS)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
