# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' realms as this host knows them: the files that role lkdc and the watcher wrote for MIT krb5's library."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

DROP_INS = Path("/etc/krb5.conf.d")

_ANSWER_S = 5.0
# The only GeneralizedTime in an error without the client's own time: stime, [4] (RFC 4120 section 5.9.1).
_SERVER_TIME = re.compile(rb"\xa4\x11\x18\x0f([0-9]{14})Z")


@dataclass(frozen=True, slots=True)
class Realm:
    """A realm and where its KDC is."""

    name: str
    address: str
    port: int

    def clock(self) -> float | None:
        """Return what time it is at the KDC, in seconds since the epoch; None when it does not say.

        A length with the high bit set is answered by KRB_ERR_FIELD_TOOLONG, whoever asks (RFC 4120 section 7.2.2).
        """
        try:
            with socket.create_connection((self.address, self.port), _ANSWER_S) as connection:
                connection.sendall(b"\xff\xff\xff\xff")
                with connection.makefile("rb") as stream:
                    found = _SERVER_TIME.search(stream.read(4096))
        except OSError:
            return None
        return None if found is None else _seconds(found[1].decode())


def of_host(name: str) -> Realm | None:
    """Return the realm of the host ``name`` (lower case, no final dot); None when this host knows of none."""
    mapping = re.compile(rf"^\s*{re.escape(name)}\s*=\s*(LKDC:SHA1\.[0-9A-F]{{40}})\s*$", re.MULTILINE)
    for path in sorted(DROP_INS.glob("btmm-*.conf")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # as MIT's library does, which then does not know the realm either
        found = mapping.search(text)
        if found:
            return Realm(found[1], *_place(text, found[1], name))
    return None


def _place(text: str, realm: str, name: str) -> tuple[str, int]:
    stanza = re.search(rf"^\s*{re.escape(realm)}\s*=\s*\{{(.*?)^\s*\}}", text, re.MULTILINE | re.DOTALL)
    given = re.search(r"^\s*kdc\s*=\s*\[?([^\s\]]+?)\]?(?::([0-9]+))?\s*$", stanza[1], re.MULTILINE) if stanza else None
    return (given[1], int(given[2] or 88)) if given else (name, 88)


def _seconds(text: str) -> float | None:
    import calendar  # noqa: PLC0415

    try:
        return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S")))
    except ValueError:
        return None
