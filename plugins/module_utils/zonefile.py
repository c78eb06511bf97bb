# SPDX-License-Identifier: GPL-3.0-or-later
"""The text form of records (RFC 1035 section 5.1): what has to be escaped, and how its faults are told to people."""

from __future__ import annotations

import dns.name

MAX_STRING = 255  # octets in one TXT character-string (RFC 1035 section 3.3)


def reason(error: Exception) -> str:
    """Return what is wrong with a text, and how to mend the faults that people meet."""
    told = str(error) or type(error).__name__
    if "string too long" in told:
        return f"a string has more than {MAX_STRING} octets; give several, each in double quotes"
    if isinstance(error, dns.name.NameTooLong):
        return "the name has more than 255 octets; shorten it"
    if isinstance(error, dns.name.LabelTooLong):
        return "a label has more than 63 octets; shorten it"
    return told


def escape(text: str) -> str:
    r"""Write every octet outside ASCII as \DDD (RFC 1035 section 5.1), so that no parser takes it for IDNA."""
    return "".join(
        character if character.isascii() else "".join(f"\\{octet:03}" for octet in character.encode(errors="replace"))
        for character in text
    )
