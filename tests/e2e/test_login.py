# SPDX-License-Identifier: GPL-3.0-or-later
"""From `btmm login` to tickets for other hosts: a user at the macbook, the owner's playbook, KDCs behind tunnels."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.e2e.click import as_user
from tests.e2e.fleet import CommandFailed, Fleet, Run
from tests.e2e.proof import ZONE

IMAC = f"imac.{ZONE}"


def sign(fleet: Fleet, *arguments: str) -> Run:
    return fleet.playbook("playbooks/login.yml", "--limit", "macbook", *arguments)


# Types a line at each prompt, of which getpass wants to have printed the last octet before anything is typed.
TYPING = """
import os, pty, sys
answers = sys.argv[2:]
process, terminal = pty.fork()
if not process:
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
shown = b""
while True:
    try:
        shown += os.read(terminal, 1)
    except OSError:
        break
    if shown.endswith(b": ") and answers:
        os.write(terminal, answers.pop(0).encode() + b"\\n")
print(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


def forget(fleet: Fleet) -> None:
    """Leave the macbook as it is without a login."""
    fleet.shell("macbook", "rm -rf /home/{alice,mallory}/.config /home/alice/tokens /run/btmm-tickets/alice/*")


@pytest.fixture(scope="module")
def working(fleet: Fleet) -> Iterator[Fleet]:
    """Have alice at the macbook, and mallory, who is a user of that machine, too, but none of the zone."""
    fleet.shell("macbook", "id mallory || useradd --create-home --shell /bin/bash mallory")
    forget(fleet)
    yield fleet
    forget(fleet)


def test_login_and_tickets(working: Fleet) -> None:
    said = as_user(working, "macbook", "btmm login")
    asked = re.search(r"has yet to sign alice's request \(key ([0-9a-f]{16})\)", said)
    assert asked, said
    as_user(working, "macbook", "btmm login", "mallory")
    with pytest.raises(CommandFailed, match="until then there are no tickets"):
        as_user(working, "macbook", "btmm ticket imac")
    planned = sign(working, "--check", "--diff")
    assert (planned.code, planned.recap["macbook"].changed) == (0, 1), planned.output
    assert f"alice, key {asked[1]}: would be signed" in planned.output
    run = sign(working)
    assert (run.code, run.recap["macbook"].changed) == (0, 1), run.output
    assert "mallory" not in run.output
    assert "until 20" in as_user(working, "macbook", "btmm login")
    again = sign(working)
    assert (again.code, again.recap["macbook"].changed) == (0, 0), again.output
    # Two realms, one certificate.
    for name in (IMAC, f"macbook.{ZONE}"):
        said = as_user(working, "macbook", f"btmm ticket {name}; kvno -q -S host {name}; klist")
        assert re.search(rf"^{re.escape(name)}  alice@LKDC:SHA1\.[0-9A-F]{{40}}  until 20", said, re.MULTILINE), said
        assert f"host/{name}@LKDC:SHA1." in said
    with pytest.raises(CommandFailed, match=r"mallory's request .* until then there are no tickets"):
        as_user(working, "macbook", "btmm ticket imac", "mallory")


def test_ssh_gets_its_ticket_by_itself(working: Fleet) -> None:
    said = as_user(working, "macbook", f"kdestroy -A; ssh -G {IMAC}; klist")
    assert "gssapiauthentication yes" in said
    assert "gssapikeyexchange yes" in said
    assert "krbtgt/LKDC:SHA1." in said
    # Who has no certificate is not bothered, and neither are other hosts.
    assert as_user(working, "macbook", f"btmm ticket --quiet {IMAC} || echo none", "mallory") == "none"
    as_user(working, "macbook", "kdestroy -A; ssh -G imac.example >/dev/null")
    assert "krbtgt" not in as_user(working, "macbook", "klist -A || true")


def test_a_passphrase_and_a_token(working: Fleet) -> None:
    """Both are asked for at the terminal, and neither by kinit."""

    def typed(command: str, *lines: str) -> str:
        return as_user(working, "macbook", shlex.join(["python3", "-c", TYPING, command, *lines]))

    assert "has yet to sign" in typed("btmm login --new --passphrase", "correct-horse", "correct-horse")
    assert sign(working).recap["macbook"].changed == 1
    assert f"{IMAC}  alice@" in typed("btmm ticket imac", "correct-horse")
    module = as_user(
        working,
        "macbook",
        "ls /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so 2>/dev/null | head -1 || true",
    )
    as_user(
        working, "macbook",
        "mkdir -p tokens .config/softhsm2; echo directories.tokendir = $HOME/tokens > .config/softhsm2/softhsm2.conf; "
        "softhsm2-util --init-token --free --label card --pin 123456 --so-pin 123456 >/dev/null; kdestroy -A",
    )  # fmt: skip
    typed(f"btmm login --new --pkcs11 pkcs11:token=card?module-path={module}", "123456")
    assert sign(working).recap["macbook"].changed == 1
    assert f"{IMAC}  alice@" in typed("btmm ticket imac", "123456")


def test_what_is_wrong_is_said(working: Fleet) -> None:
    as_user(working, "macbook", "btmm login --new; kdestroy -A")
    assert sign(working).recap["macbook"].changed == 1
    with pytest.raises(CommandFailed, match=rf"macbook: this host knows no realm of nowhere\.{re.escape(ZONE)}"):
        as_user(working, "macbook", "btmm ticket nowhere")
    unit = f"btmm-kdc@{ZONE}.service"
    working.on("imac", "systemctl", "stop", unit)
    try:
        with pytest.raises(CommandFailed, match=rf"the KDC of {re.escape(IMAC)} is not reached; see 'btmm connect"):
            as_user(working, "macbook", "btmm ticket imac")
    finally:
        working.on("imac", "systemctl", "start", unit)


def test_peers_realms_are_known(working: Fleet) -> None:
    status = json.loads(working.on("macbook", "cat", f"/run/btmm/{ZONE}/status.json"))
    assert "imac" in str(status.get("realms")), status
