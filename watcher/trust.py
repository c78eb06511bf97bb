# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom openssl's commands believe."""

from __future__ import annotations


def only(authority: str) -> list[str]:
    """Return options by which a file's CAs are believed, and nobody else.

    With `-CAfile` alone the system's CAs count as well: their folder is read both as CApath and as CAstore.
    """
    return ["-CAfile", authority, "-no-CApath", "-no-CAstore"]
