# SPDX-License-Identifier: GPL-3.0-or-later
"""Tickets for the realm of a host, by MIT krb5's own kinit and klist; what they say when there is none, made plain."""

from __future__ import annotations

import calendar
import os
import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import SignOnError
from .memory import in_memory, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .credentials import Credentials
    from .realms import Realm

# A ticket that is about to end is got anew: what it is wanted for may take a while to begin.
SPARE_S = 300
# What tickets and clocks may differ by (RFC 4120 section 8.2).
SKEW_S = 300
_PATIENCE_S = 30.0
_TIMES = re.compile(r"^(\S+ \S+)  (\S+ \S+)  (\S+)$", re.MULTILINE)


# A KDC that takes no certificates, or says so, gets no password either, nor what was typed for another purpose.
_ONLY_CERTIFICATES = b"[plugins]\n clpreauth = {\n  enable_only = pkinit\n }\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """MIT's name of a certificate and its key.

    ``{secret}`` in it stands for the path of ``secret``; ``answer`` is what kinit asks for, with a line's end.
    """

    name: str
    secret: bytes = b""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket-granting ticket; seconds since the epoch, by the KDC's clock."""

    begins: float
    ends: float


def held(principal: str, realm: str) -> Ticket | None:
    """Return the ticket-granting ticket in the user's collection that is good for a while yet."""
    return next((each for each in _granting(principal, realm) if each.ends > time.time() + SPARE_S), None)


def get(credentials: Credentials, realm: Realm, host: str, identity: Identity) -> Ticket:
    """Get a ticket-granting ticket for a realm.

    Args:
        credentials: the user's.
        realm: the realm.
        host: the realm's host, for messages.
        identity: his certificate and key.

    Raises:
        SignOnError: why there is none.
    """
    principal = f"{credentials.user}@{realm.name}"
    with in_memory(_ONLY_CERTIFICATES) as conf, in_memory(identity.secret) as secret:
        name = identity.name.replace("{secret}", path_of(secret))
        done = _run(
            ["kinit", "-X", f"X509_user_identity={name}", principal],
            given=identity.answer,
            descriptors=(conf, secret),
            KRB5_CONFIG=f"{path_of(conf)}:{os.environ.get('KRB5_CONFIG') or '/etc/krb5.conf'}",
        )
    if done.returncode:
        raise SignOnError(_reason(done.stderr, credentials, realm, host))
    tickets = list(_granting(principal, realm.name))
    if not tickets:
        raise SignOnError(f"kinit kept no ticket for {host}; see 'klist -A', and what default_ccache_name is")
    return max(tickets, key=lambda each: each.begins)


def prefer(principal: str) -> None:
    """Make a ticket the collection's first one, as a new one is: some programs, as smbclient, look at that alone."""
    _run(["kswitch", "-p", principal])


def clock_fault(realm: Realm, host: str) -> str:
    """Return what is wrong with this host's clock or the KDC's, as the KDC tells it; '' when nothing is known to be."""
    theirs = realm.clock()
    return "" if theirs is None else difference(time.time() - theirs, host)


def difference(seconds: float, host: str) -> str:
    """Return what to tell a user whose clock is ahead of a host's by so many seconds; '' when it is good enough."""
    if abs(seconds) <= SKEW_S:
        return ""
    way = "ahead of" if seconds > 0 else "behind"
    return f"this host's clock is {_duration(abs(seconds))} {way} that of {host}; set the one that is wrong"


def _granting(principal: str, realm: str) -> Iterator[Ticket]:
    """Yield the principal's ticket-granting tickets."""
    for cache in _run(["klist", "-A"]).stdout.split("Ticket cache: "):
        if f"Default principal: {principal}\n" not in cache:
            continue
        for begins, ends, server in _TIMES.findall(cache):
            if server == f"krbtgt/{realm}@{realm}":
                yield Ticket(_seconds(begins), _seconds(ends))


def _reason(said: str, credentials: Credentials, realm: Realm, host: str) -> str:
    """Return in one sentence why kinit failed; what it said of itself, where nothing better is known."""
    user = credentials.user
    lines = said.strip().splitlines()
    last = lines[-1].removeprefix("kinit: ").removesuffix(" while getting initial credentials") if lines else "nothing"
    if "Cannot contact any KDC" in last:
        return f"the KDC of {host} is not reached; see 'btmm connect {host}', or whether it is off"
    if "not found in Kerberos database" in last:
        return f"{user} is no user of {host}; list him in btmm_users, and run the role lkdc for it"
    if "evoked" in last:
        return f"{user}'s certificate is revoked; have the owner list him again, and run 'btmm login --new'"
    if "Certificate mismatch" in last:
        return f"{host} does not take the certificate as {user}'s; see that btmm_zone is the same on both"
    clock = clock_fault(realm, host)
    return f"{clock} ({last})" if clock else f"{host} gives {user} no ticket: {last}"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _run(
    arguments: list[str], given: str = "", descriptors: tuple[int, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC", **variables}
    try:
        return subprocess.run(
            arguments, env=environment, input=given, capture_output=True, text=True, check=False,
            timeout=_PATIENCE_S, pass_fds=descriptors,
        )  # fmt: skip
    except FileNotFoundError:
        raise SignOnError(f"there is no '{arguments[0]}'; install the packages krb5-user and krb5-pkinit") from None
    except subprocess.TimeoutExpired:
        raise SignOnError(f"{arguments[0]} had no answer within {_PATIENCE_S:.0f} s; is the host there?") from None


def _seconds(text: str) -> float:
    """Return what klist prints in the C locale and UTC, as seconds since the epoch."""
    return float(calendar.timegm(time.strptime(text, "%m/%d/%y %H:%M:%S")))
