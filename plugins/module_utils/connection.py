# SPDX-License-Identifier: GPL-3.0-or-later
"""From a DNS module's options to an open exchange with its server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.tsig

from . import gss
from .bind import parse_key
from .exchange import Exchange, Server
from .session import Session
from .update import UpdateError

if TYPE_CHECKING:
    from collections.abc import Mapping

DOT_PORT = 853  # RFC 7858 section 3.1
DNS_PORT = 53


class KeyMissing(UpdateError):
    """The key file is not there."""


def open_session(params: Mapping[str, Any]) -> Session:
    """Return a session as the module's parameters say; it connects when it is entered.

    Raises:
        UpdateError: the key cannot be used; in one sentence.
    """
    tls = params["tls"]
    server = Server(
        address=params["server"],
        port=params["port"] or (DNS_PORT if tls is None else DOT_PORT),
        tls=tls is not None,
        ca=tls and tls["ca"],
        hostname=tls and tls["hostname"],
        timeout_s=params["timeout"],
    )
    if params["key_algorithm"] == gss.ALGORITHM:
        return Session(lambda: _negotiated(server), params["retries"])
    key = _key(params)
    return Session(lambda: Exchange(server, key), params["retries"])


def _negotiated(server: Server) -> Exchange:
    """Return an exchange that signs with a key of its own: tickets are presented anew on every connection."""
    context = gss.Ticket(server.hostname or server.address)
    exchange = Exchange(server, None)
    try:
        exchange.key = gss.negotiate(exchange, context)
    except UpdateError:
        exchange.close()
        raise
    return exchange


def _key(params: Mapping[str, Any]) -> dns.tsig.Key | None:
    path = params["key_file"]
    try:
        if path:
            return parse_key(Path(path).read_text())
        if params["key_secret"]:
            name = dns.name.from_text(params["key_name"])
            algorithm = dns.name.from_text(params["key_algorithm"])
            return dns.tsig.Key(name, base64.b64decode(params["key_secret"], validate=True), algorithm)
    except FileNotFoundError as error:
        raise KeyMissing(f"there is no key file {path}: is the zone set up?") from error
    except (OSError, ValueError, dns.exception.DNSException) as error:
        raise UpdateError(f"the TSIG key cannot be used ({error}): check name, algorithm and base64 secret") from error
    return None
