# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and screens of one's other hosts, claim by claim, as a user has them who logged in once, without a password."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable

from tests.e2e.fleet import CommandFailed, Fleet
from tests.e2e.proof import ZONE, Evidence

USER = "alice"
TICKETS = f"DIR:/run/btmm-tickets/{USER}"
# No password can be asked for: standard input is empty, and smbclient is told to take tickets and nothing else.
SMB = f"smbclient --use-krb5-ccache={TICKETS}"
PICTURE = f"/home/{USER}/screen.jpg"
# vncsnapshot knows IPv4 only, so something of systemd's carries its connection to the host's name.
RELAY_PORT = 5999


def as_user(fleet: Fleet, host: str, script: str, user: str = USER, timeout: float = 60) -> str:
    """Run a shell script in a login of the user's, who types nothing; what it says on standard error, too."""
    whole = f"(set -euo pipefail\n{script}\n) 2>&1 </dev/null"
    return fleet.on(host, "runuser", "--login", user, "--command", whole, timeout=timeout).strip()


def refused(fleet: Fleet, host: str, command: str) -> str:
    """Return what a command of the user says that has to fail."""
    try:
        said = as_user(fleet, host, command)
    except CommandFailed as failed:
        return str(failed)
    raise AssertionError(f"'{command}' on {host} should be refused, and said {said!r}")


def log_in(fleet: Fleet, *hosts: str) -> Evidence:
    """Have the user logged in on hosts: a key made there, its certificate signed by the owner."""
    for host in hosts:
        as_user(fleet, host, "btmm login")
    run = fleet.playbook("playbooks/login.yml", "--limit", ",".join(hosts))
    assert run.code == 0, run.output
    until = re.findall(rf"{USER}, key [0-9a-f]+: until (\S+)", run.output)
    assert len(until) == len(hosts), run.output
    return Evidence(f"{USER} logs in on {', '.join(hosts)}", f"her certificate is good until {until[0]}")


def ticket(fleet: Fleet, client: str, server: str) -> None:
    """Get the user's ticket for a host's services; the realm of a peer is known on a host soon after both are up."""
    script = f"while ((SECONDS < 90)); do btmm ticket {server} && exit; sleep 1; done; exit 1"
    as_user(fleet, client, script, timeout=150)


def read_file(fleet: Fleet, client: str, server: str, share: str = "docs") -> Evidence:
    """Read a file of a host's share with a ticket."""
    words = f"said on {server} at {time.time_ns()}"
    fleet.on(server, "runuser", "--login", USER, "--command", f"echo '{words}' > /srv/{share}/news")
    ticket(fleet, client, server)
    started = time.monotonic()
    said = as_user(fleet, client, f"{SMB} //{server}.{ZONE}/{share} --command 'get news received' && cat received")
    seconds = time.monotonic() - started
    assert words in said, f"//{server}.{ZONE}/{share}/news on {client} gave {said!r}"
    held = as_user(fleet, client, "klist -A")
    assert f"cifs/{server}.{ZONE}@LKDC:SHA1." in held, held
    return Evidence(
        f"{USER} reads a file of {server}'s share on {client} with a ticket",
        f"{words!r} after {seconds:.2f} s, no password typed",
    )


def save_screen(fleet: Fleet, client: str, server: str) -> Evidence:
    """Save a picture of a host's screen through the tunnel."""
    picture = snapshot(fleet, client, server)
    size = dimensions(picture)
    assert size == (1280, 800), f"the picture of {server}'s screen is {size[0]} x {size[1]} pixels"
    return Evidence(
        f"{USER} saves a picture of {server}'s screen on {client}",
        f"{client}:{PICTURE}, {size[0]} x {size[1]} pixels, {len(picture)} octets, no password typed",
    )


def snapshot(fleet: Fleet, client: str, server: str) -> bytes:
    """Save a picture of a host's screen on another host; return it, too (JPEG)."""
    carry = f"/lib/systemd/systemd-socket-proxyd --exit-idle-time=1 {server}.{ZONE}:5900"
    as_user(
        fleet,
        client,
        f"systemd-socket-activate --listen=127.0.0.1:{RELAY_PORT} {carry} & relay=$!; "
        # Its port is free again then, for the next picture.
        " trap 'kill $relay || true; wait $relay || true' EXIT;"
        # A listening socket is seen, not tried: the first connection starts what carries it.
        f" until ss -Hltn | grep -q 127.0.0.1:{RELAY_PORT}; do sleep 0.1; done;"
        # Of the other encodings it takes an empty rectangle for the end of what comes.
        f" vncsnapshot -quiet -encodings raw 127.0.0.1:{RELAY_PORT - 5900} {PICTURE}",
    )
    return bytes.fromhex(fleet.shell(client, f"od -An -v -tx1 {PICTURE} | tr -d ' \\n'"))


def dimensions(jpeg: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG picture, from its frame header (ITU-T T.81, B.2.2)."""
    assert jpeg[:2] == b"\xff\xd8", "this is no JPEG"
    at = 2
    while jpeg[at + 1] not in {0xC0, 0xC1, 0xC2}:
        at += 2 + int(struct.unpack_from(">H", jpeg, at + 2)[0])
    height, width = struct.unpack_from(">HH", jpeg, at + 5)
    return width, height


CLAIMS: tuple[Callable[[Fleet], Evidence], ...] = (
    lambda fleet: log_in(fleet, "macbook"),
    lambda fleet: read_file(fleet, "macbook", "imac"),
    lambda fleet: save_screen(fleet, "macbook", "imac"),
)
