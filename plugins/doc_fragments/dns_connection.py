# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of `module_utils/connection.py`."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of every DNS module."""

    DOCUMENTATION = r"""
options:
  server: {description: Address or name of the zone's primary., type: str, default: 127.0.0.1}
  port: {description: Its port; 53, or 853 with O(tls)., type: int}
  tls:
    description: Talk over TLS (RFC 7858); the server's certificate is always verified.
    type: dict
    suboptions:
      ca: {description: PEM file of the CA; the host's own list without it., type: path}
      hostname: {description: Name that the certificate must bear; O(server) without it., type: str}
  timeout: {description: Seconds to wait for the connection and for each answer., type: float, default: 10.0}
  key_name: {description: Name of the TSIG key., type: str}
  key_algorithm: {description: Algorithm of the TSIG key., type: str, default: hmac-sha256}
  key_secret: {description: The TSIG key in base64., type: str}
  key_file: {description: A file with a BIND C(key) statement, on the host where the module runs., type: path}
requirements: [python3-dnspython >= 2.3]
"""
