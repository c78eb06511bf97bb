# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS of our own servers, whose certificates, and the hosts', are of the owner CA."""

from __future__ import annotations

import ssl
from asyncio import sslproto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_RECORD = 1 << 14  # octets of a TLS record at most (RFC 8446 section 5.1)


def small_buffers() -> None:
    """Have asyncio's TLS connections, from now on, take buffers of one record, and not of 256 KiB.

    That is for transfers; what our daemons say fits a record. It is not of asyncio's public face: where Python has
    another name for it, nothing is changed.
    """
    if hasattr(sslproto.SSLProtocol, "max_size"):
        sslproto.SSLProtocol.max_size = _RECORD


def server_context(
    certificate: Path,
    key: Path,
    authority: Path,
    protocols: Sequence[str],
    *,
    everybody: bool = False,
    revoked: Path | None = None,
) -> ssl.SSLContext:
    """Return a context that takes hosts with certificates of the owner CA, over TLS 1.3.

    Args:
        certificate: the server's own, PEM.
        key: its key.
        authority: the owner CA.
        protocols: what ALPN may choose.
        everybody: take clients without a certificate, too.
        revoked: the owner CA's list of revoked certificates; who is on it is refused.

    Raises:
        OSError: a file can't be read, or is none of ours (`ssl.SSLError`).
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL if everybody else ssl.CERT_REQUIRED
    context.set_alpn_protocols(list(protocols))
    if revoked is not None:
        context.load_verify_locations(cafile=str(revoked))
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    # A resumed session would not show whether the certificate is still taken.
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context


def client_context(authority: Path, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return a context for a client of a server of ours, over TLS 1.3.

    Args:
        authority: the owner CA, which the server's certificate has to be of.
        protocols: what to offer by ALPN.

    Raises:
        OSError: the CA can't be read, or is none (`ssl.SSLError`).
    """
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(list(protocols))
    return context
