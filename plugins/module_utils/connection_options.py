# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every DNS module: which server, and how. Needs no dnspython, so that its lack can be told."""

from __future__ import annotations

from typing import Any

CONNECTION_ARGUMENTS: dict[str, Any] = {
    "server": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int"},
    "tls": {"type": "dict", "options": {"ca": {"type": "path"}, "hostname": {"type": "str"}}},
    "timeout": {"type": "float", "default": 10.0},
    "key_name": {"type": "str"},
    "retries": {"type": "int", "default": 3},
    # HMAC-MD5 and HMAC-SHA1 are not for new keys (RFC 8945 section 6).
    "key_algorithm": {
        "type": "str",
        "choices": ["hmac-sha256", "hmac-sha384", "hmac-sha512", "gss-tsig"],
        "default": "hmac-sha256",
    },
    "key_secret": {"type": "str", "no_log": True},
    "key_file": {"type": "path"},
}
CONNECTION_RULES: dict[str, Any] = {
    "required_together": [("key_name", "key_secret")],
    "mutually_exclusive": [("key_file", "key_secret")],
}
