# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service or a model is to a person: a word and an address to click, a picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Service

# Type: what people call it; the scheme of its links, and that scheme's own port, which links leave out.
_KINDS: dict[str, tuple[str, str, int]] = {
    "_ssh._tcp": ("Terminal", "ssh", 22),
    "_sftp-ssh._tcp": ("Files by SFTP", "sftp", 22),
    "_smb._tcp": ("Shared files", "smb", 445),
    "_afpovertcp._tcp": ("Shared files by AFP", "afp", 548),
    "_nfs._tcp": ("Shared files by NFS", "nfs", 2049),
    "_rfb._tcp": ("Screen", "vnc", 5900),
    "_http._tcp": ("Web page", "http", 80),
    "_https._tcp": ("Secure web page", "https", 443),
}
# Beginnings of Apple's model names, which device-info carries, and the symbol in page.html.
_MODELS = (
    (r"macbook|powerbook|ibook", "laptop"),
    (r"imac|emac", "all-in-one"),
    (r"macmini", "small"),
    (r"macpro|powermac", "tower"),
    (r"xserve|rackmac", "server"),
    (r"timecapsule|airport", "router"),
)


def label(kind: str) -> str:
    """Return what people call a service type; an unknown one keeps its name."""
    known = _KINDS.get(kind)
    return known[0] if known else kind


def url(host: str, service: Service) -> str | None:
    """Return the address that opens a service; None when no program is known to open it.

    Args:
        host: its whole name, of letters, digits and hyphens (`names.check_label`).
        service: as the host publishes it. Of its texts only `path` counts, for web pages (RFC 6763 section 6.3 and
            the registry of service names); another host wrote it, so it is quoted.
    """
    if service.type not in _KINDS:
        return None
    _, scheme, usual = _KINDS[service.type]
    path = "/"
    if scheme in {"http", "https"}:
        given = next((text[5:] for text in service.txt if text.lower().startswith("path=")), "")
        path = "/" + quote(given.lstrip("/"), safe="/%?=&~-._:@!$'()*+,;")
    elif scheme in {"ssh", "vnc"}:
        path = ""
    port = "" if service.port == usual else f":{service.port}"
    return f"{scheme}://{host}{port}{path}"


def icon(model: str | None) -> str:
    """Return the symbol for a model, as the first part of the model's name tells its family."""
    name = (model or "").lower()
    return next((symbol for pattern, symbol in _MODELS if re.match(pattern, name)), "computer")
