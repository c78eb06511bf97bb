# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's list of revoked certificates on this host: taken up by charon and the KDC, and tunnels closed by it.

Run by systemd as root whenever a list arrived: by Ansible at its place, or by the zone in the daemon's folder. Only
swanctl and openssl are asked; the daemon itself can write neither place.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic

from . import charon
from .errors import ListError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

COMMAND_S = 30.0
PUBLIC_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Lists:
    """Where one zone's lists are.

    Attributes:
        installed: what charon reads.
        received: what the daemon had from the zone; anybody who can write there may have made it.
        copies: further readers' own, each in a folder that is there only with its reader.
        authority: the owner CA.
    """

    installed: Path
    received: Path
    copies: tuple[Path, ...]
    authority: Path


def take(lists: Lists, zone: str) -> list[str]:
    """Install the newer list, have it taken up, close what it forbids; return what was done, a line each.

    Raises:
        ListError: openssl or swanctl fails.
        TunnelError: charon is away.
    """
    told = []
    if lists.received.exists() and number(lists.received, lists.authority) > number(lists.installed, lists.authority):
        write_atomic(lists.installed, lists.received.read_bytes(), PUBLIC_MODE)
        told.append(f"took list {number(lists.installed, lists.authority)} of the owner from the zone")
    if not lists.installed.exists():
        raise ListError(f"there is no list at {lists.installed}: run the role identity for this host")
    content = lists.installed.read_bytes()
    for copy in lists.copies:
        if copy.parent.is_dir() and (not copy.exists() or copy.read_bytes() != content):
            write_atomic(copy, content, PUBLIC_MODE)
            told.append(f"renewed {copy}")
    # Before charon is told anything: it forgets the certificates of its peers when others are loaded.
    known = peers(_run("swanctl", "--list-certs", "--type", "x509"))
    _run("swanctl", "--load-creds", "--noprompt")
    # A list by which peers were judged stays in its cache beside the new one, and it would go on judging by that.
    _run("swanctl", "--flush-certs", "--type", "x509_crl")
    revoked = serials(_run("openssl", "crl", "-noout", "-text", "-in", str(lists.installed)))
    return told + close(zone, known, revoked)


def close(zone: str, known: Mapping[str, set[str]], revoked: Iterable[str]) -> list[str]:
    """Close the zone's tunnels whose peer's certificate was revoked; return a line each.

    Also those of whose certificate charon does not know any more: a peer in good standing is back with its next packet.
    """
    forbidden, told = set(revoked), []
    with charon.session() as session:
        for tunnel, identity in charon.identities(session, f".{zone}"):
            held = known.get(identity, set())
            if held and not held & forbidden:
                continue
            charon.forget(session, tunnel)
            why = (
                "its certificate was revoked" if held else "its certificate is not at hand, so it has to show it again"
            )
            told.append(f"closed the tunnel to {identity}: {why}")
    return told


def number(path: Path, authority: Path) -> int:
    """Return the number of a list (RFC 5280 section 5.2.3); -1 for one that is missing, or not signed by the owner."""
    if not path.exists():
        return -1
    done = _done("openssl", "crl", "-noout", "-crlnumber", "-CAfile", str(authority), "-in", str(path))
    found = re.search(r"^crlNumber=(?:0x)?([0-9A-Fa-f]+)$", done.stdout, re.MULTILINE)
    return int(found[1], 16) if found and "verify OK" in done.stdout + done.stderr else -1


def serials(text: str) -> set[str]:
    """Return the serial numbers that openssl shows of a list, lower-case hex."""
    return {_plain(found) for found in re.findall(r"^ *Serial Number: ([0-9A-Fa-f]+)$", text, re.MULTILINE)}


def peers(text: str) -> dict[str, set[str]]:
    """Return the serial numbers of the certificates that swanctl lists, by each name in them."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"^  subject:", text, flags=re.MULTILINE)[1:]:
        serial = re.search(r"^  serial: +([0-9a-f:]+)$", block, re.MULTILINE)
        names = re.search(r"^  altNames: +(.+)$", block, re.MULTILINE)
        if serial and names:
            for name in names[1].split(", "):
                found.setdefault(name.strip(), set()).add(_plain(serial[1]))
    return found


def _plain(serial: str) -> str:
    return f"{int(serial.replace(':', ''), 16):x}"


def _run(*command: str) -> str:
    done = _done(*command)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        raise ListError(f"{command[0]} refuses ({said}): see 'journalctl -u strongswan'")
    return done.stdout


def _done(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=COMMAND_S
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ListError(f"{command[0]} can't be run ({err}): run the role tunnel again") from err
