# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a host in a module's options. Needs no dnspython, so that its lack can be told."""

from __future__ import annotations

from typing import Any

IKE_PORT = 4500  # UDP (RFC 3948 section 2.1)

_SERVICE: dict[str, Any] = {
    "type": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "txt": {"type": "list", "elements": "str", "default": []},
}
_ENDPOINT: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": IKE_PORT},
}
HOST_ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str"},
    "label": {"type": "str", "required": True},
    "title": {"type": "str"},
    "ula": {"type": "str"},
    "model": {"type": "str"},
    "services": {"type": "list", "elements": "dict", "default": [], "options": _SERVICE},
    "endpoint": {"type": "dict", "options": _ENDPOINT},
    "records": {"type": "list", "elements": "str", "default": []},
}
