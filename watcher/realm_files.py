# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients of Kerberos on this host are told of peers' realms: one file for each in /etc/krb5.conf.d."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import sweep, write_atomic

if TYPE_CHECKING:
    from .config import Config

FOLDER = Path("/etc/krb5.conf.d")

# The mapping of the name decides which realm a client asks, whatever the DNS says; the anchor, whom it believes there.
_TEXT = """\
# Written by btmm: the zone's word, and a certificate of the owner's CA for it.
[realms]
    {realm} = {{
        kdc = {host}
        pkinit_anchors = FILE:{authority}
    }}

[domain_realm]
    {host} = {realm}
"""


class RealmFiles:
    """The files of one zone; the one of this host itself is the role's."""

    def __init__(self, config: Config, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._zone = config.zone.to_text(omit_final_dot=True).lower()
        # Samba's Heimdal reads no file there with a dot in its name but that of the end.
        self._prefix = f"btmm-{self._zone.replace('.', '_')}-"
        self._authority = config.ca
        self._own = config.host.label

    def labels(self) -> set[str]:
        """Return the peers that have a file; what killed writers left goes."""
        sweep(self._folder)
        found = {path.stem.removeprefix(self._prefix) for path in self._folder.glob(f"{self._prefix}*.conf")}
        return {label for label in found if _is_label(label)} - {self._own}

    def put(self, label: str, realm: str) -> bool:
        """Write a peer's file; tell whether it was another one before.

        Raises:
            OSError: the folder is not there, or the disk is full.
        """
        text = _TEXT.format(realm=realm, host=f"{label}.{self._zone}", authority=self._authority).encode()
        path = self._path(label)
        if path.exists() and path.read_bytes() == text:
            return False
        write_atomic(path, text, 0o644)
        return True

    def drop(self, label: str) -> bool:
        """Remove a peer's file; tell whether there was one.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self._path(label)
        if not path.exists():
            return False
        path.unlink()
        return True

    def _path(self, label: str) -> Path:
        return self._folder / f"{self._prefix}{label}.conf"


def _is_label(text: str) -> bool:
    """Whether a file is one of ours: the name of another zone may begin as ours does."""
    try:
        return names.check_label(text) == text
    except names.InvalidName:
        return False
