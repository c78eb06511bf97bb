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

from ansible_collections.btmm.fleet.plugins.module_utils import bundle
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic

from . import charon
from .errors import ListError
from .trust import only

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

COMMAND_S = 30.0
PUBLIC_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Lists:
    """Where one zone's lists are; while the owner's CA is changed, a file has one list of each.

    Attributes:
        installed: what Ansible writes, and charon reads, with the second file beside it (`bundle`).
        received: what the daemon had from the zone; anybody who can write there may have made it.
        copies: further readers' own, each in a folder that is there only with its reader.
        authority: the owner CA.
        judged: the serial numbers by which tunnels were last judged; lost with a boot, as the tunnels are.
    """

    installed: Path
    received: Path
    copies: tuple[Path, ...]
    authority: Path
    judged: Path


@dataclass(frozen=True, slots=True)
class Genuine:
    """A list that the owner signed, and its number (RFC 5280 section 5.2.3)."""

    number: int
    pem: str


def take(lists: Lists, zone: str) -> list[str]:
    """Install the newer list, have it taken up, close what it forbids; return what was done, a line each.

    Raises:
        ListError: there is no list, or openssl or swanctl fails.
        TunnelError: charon does not answer.
    """
    told = []
    while True:
        # systemd does not hear of what changes while this runs (systemd #5770).
        before = _inputs(lists)
        if newer := _take_newer(lists):
            told += newer
            continue
        told += _take_up(lists, zone)
        if _inputs(lists) == before:
            return told


def _inputs(lists: Lists) -> list[bytes]:
    paths = (lists.installed, lists.received, lists.authority)
    return [path.read_bytes() if path.exists() else b"" for path in paths]


def _take_up(lists: Lists, zone: str) -> list[str]:
    """Have charon and the KDC judge by what is installed; return a line for each thing done."""
    told = []
    if not lists.installed.exists():
        raise ListError(f"there is no list at {lists.installed}: run the role identity for this host")
    text = lists.installed.read_text(encoding="ascii", errors="replace")
    readers = {copy: text for copy in lists.copies if copy.parent.is_dir()}
    for copy, content in {bundle.second_path(lists.installed): bundle.last(text), **readers}.items():
        if not copy.exists() or copy.read_bytes() != content.encode():
            write_atomic(copy, content.encode(), PUBLIC_MODE)
            told.append(f"renewed {copy}")
    if charon.is_away():
        return [*told, "charon is away, so it finds the list at its start"]
    # Before charon is told anything: it forgets the certificates of its peers when others are loaded.
    known = peers(_run("swanctl", "--list-certs", "--type", "x509"))
    _run("swanctl", "--load-creds", "--noprompt")
    # A list by which peers were judged stays in its cache beside the new one, and it would go on judging by that.
    _run("swanctl", "--flush-certs", "--type", "x509_crl")
    shown = [_run("openssl", "crl", "-noout", "-text", given=each) for each in bundle.split(text)]
    revoked = {serial for each in shown for serial in serials(each)}
    is_news = not lists.judged.exists() or not revoked <= set(lists.judged.read_text().split())
    told += close(zone, known, revoked, is_news=is_news)
    lists.judged.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(lists.judged, "".join(f"{each}\n" for each in sorted(revoked)).encode())
    return told


def _take_newer(lists: Lists) -> list[str]:
    """Install what the zone has of later lists; each CA's are compared by themselves."""
    held, heard = (genuine(path, lists.authority) for path in (lists.installed, lists.received))
    newer = {name: each for name, each in heard.items() if name not in held or each.number > held[name].number}
    if not newer:
        return []
    anchors = bundle.split(lists.authority.read_text(encoding="ascii"))
    order = [_run("openssl", "x509", "-noout", "-subject_hash", given=each).strip() for each in anchors]
    newest = {**held, **newer}
    # In the order in which Ansible writes them, so that it finds nothing to change.
    content = "".join(newest[name].pem for name in order if name in newest)
    write_atomic(lists.installed, content.encode(), PUBLIC_MODE)
    return [f"took list {each.number} of the owner from the zone" for each in newer.values()]


def close(zone: str, known: Mapping[str, set[str]], revoked: Iterable[str], *, is_news: bool) -> list[str]:
    """Close the zone's tunnels whose peer's certificate was revoked; return a line each.

    When there `is_news` on the list, also those of which charon does not tell by which certificate they were made: it
    knows none of the peer's any more, or a revoked one beside another, as of a host that was enrolled anew and whose
    thief goes on calling. A peer in good standing is back with its next packet. By an old list those were judged.
    """
    forbidden, told = set(revoked), []
    with charon.session() as session:
        for tunnel, identity in charon.identities(session, f".{zone}"):
            held = known.get(identity, set())
            dead = held & forbidden
            is_doubtful = bool(dead) or not held
            is_certain = bool(dead) and dead == held
            if not (is_doubtful if is_news else is_certain):
                continue
            charon.forget(session, tunnel)
            why = (
                "its certificate was revoked" if dead else "its certificate is not at hand, so it has to show it again"
            )
            told.append(f"closed the tunnel to {identity}: {why}")
    return told


def genuine(path: Path, authority: Path) -> dict[str, Genuine]:
    """Return those of the lists in a file that the owner signed, by a hash of their CA's name; it may be missing."""
    found = {}
    for pem in bundle.split(path.read_text(encoding="ascii", errors="replace")) if path.exists() else ():
        done = _done("openssl", "crl", "-noout", "-hash", "-crlnumber", *only(str(authority)), given=pem)
        name = re.search(r"^(?:issuer name hash=)?([0-9a-f]{8})$", done.stdout, re.MULTILINE)
        number = re.search(r"^crlNumber=(?:0x)?([0-9A-Fa-f]+)$", done.stdout, re.MULTILINE)
        if name and number and "verify OK" in done.stdout + done.stderr:
            found[name[1]] = Genuine(int(number[1], 16), pem)
    return found


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


def _run(*command: str, given: str = "") -> str:
    done = _done(*command, given=given)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        raise ListError(f"{command[0]} refuses ({said}): see 'journalctl -u strongswan'")
    return done.stdout


def _done(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=COMMAND_S)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ListError(f"{command[0]} can't be run ({err}): run the role tunnel again") from err
