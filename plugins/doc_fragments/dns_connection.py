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
  retries:
    description:
      - How many times to try again, after waits that grow and vary, when the server fails (SERVFAIL), is silent, or
        cuts the connection since a quota of it is used up. What a repeat does not mend (REFUSED, NOTAUTH) is never
        repeated.
    type: int
    default: 3
  key_name: {description: Name of the TSIG key., type: str}
  key_algorithm:
    description:
      - Algorithm of the TSIG key. With C(gss-tsig) the key is negotiated with the Kerberos tickets of the user that the
        module runs as (RFC 3645), which needs the Python library gssapi there, and a name as O(server) or
        O(tls.hostname); the other key options are not used then.
    type: str
    choices: [hmac-sha256, hmac-sha384, hmac-sha512, gss-tsig]
    default: hmac-sha256
  key_secret: {description: The TSIG key in base64., type: str}
  key_file: {description: A file with a BIND C(key) statement, on the host where the module runs., type: path}
attributes:
  action_group:
    description: Use C(group/btmm.fleet.dns) in C(module_defaults) to give server and key once for all DNS modules.
    support: full
    membership: btmm.fleet.dns
requirements: [python3-dnspython >= 2.3]
"""
