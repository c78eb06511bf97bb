# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with a certificate, or a list, of each CA that counts: two while one takes the place of the other.

OpenSSL, MIT krb5 and BIND read all that is in a file, strongSwan the first alone; for it the last stands in a second
file as well, always, so that what names both need not change.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n.*?-----END \1-----\n?", re.DOTALL)


def split(text: str) -> list[str]:
    """Return what stands in a PEM file, each with its armour and a line break at the end."""
    return [found[0].rstrip("\n") + "\n" for found in _BLOCK.finditer(text)]


def last(text: str) -> str:
    """Return the last one; '' when there is none."""
    return next(reversed(split(text)), "")


def second_path(path: Path) -> Path:
    """Return where the last one stands for strongSwan. No zone's name has a plus sign."""
    return path.with_name(f"{path.stem}+2{path.suffix}")
