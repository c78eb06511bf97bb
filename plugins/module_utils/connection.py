# SPDX-License-Identifier: GPL-3.0-or-later
"""From a DNS module's options to an open exchange with its server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.tsig

from .bind import parse_key
from .exchange import Exchange, Server
from .update import UpdateError

if TYPE_CHECKING:
    from collections.abc import Mapping

DOT_PORT = 853  # RFC 7858 section 3.1
DNS_PORT = 53


class KeyMissing(UpdateError):
    """The key file is not there."""


def open_exchange(params: Mapping[str, Any]) -> Exchange:
    """Connect as the module's parameters say.

    Raises:
        UpdateError: the server cannot be reached or trusted, or the key cannot be used; in one sentence.
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
    return Exchange(server, _key(params))


def _key(params: Mapping[str, Any]) -> dns.tsig.Key | None:
    path = params["key_file"]
    try:
        if path:
            return parse_key(Path(path).read_text())
        if params["key_secret"]:
            name = dns.name.from_text(params["key_name"])
            algorithm = dns.name.from_text(params["key_algorithm"])
            key = dns.tsig.Key(name, base64.b64decode(params["key_secret"], validate=True), algorithm)
            if key.algorithm not in dns.tsig.mac_sizes:
                raise ValueError(f"unknown algorithm {key.algorithm}")
            return key
    except FileNotFoundError as error:
        raise KeyMissing(f"there is no key file {path}: is the zone set up?") from error
    except (OSError, ValueError, dns.exception.DNSException) as error:
        raise UpdateError(f"the TSIG key cannot be used ({error}): check name, algorithm and base64 secret") from error
    return None
