# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking for a passphrase at the terminal, whatever standard input is."""

from __future__ import annotations

import getpass

from . import SignOnError

_LEAST = 8  # characters, as for the owner's


def ask(prompt: str) -> str:
    """Return what is typed.

    Raises:
        SignOnError: there is nobody to ask.
    """
    try:
        return getpass.getpass(prompt)
    except (EOFError, OSError):
        raise SignOnError("the key needs its passphrase, and there is no terminal to ask for it") from None


def ask_new(zone: str) -> str:
    """Return a new passphrase, typed twice.

    Raises:
        SignOnError: it is too short, or was typed otherwise the second time.
    """
    first = ask(f"New passphrase for the key of {zone}: ")
    if len(first) < _LEAST:
        raise SignOnError(f"a passphrase has at least {_LEAST} characters; run it again")
    if ask("Once more: ") != first:
        raise SignOnError("these were two different passphrases; run it again")
    return first
