# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and a screen, through the tunnel: imac (Debian 12) and macbook (Debian 13) share with each other.

imac's are in the rehearsal's inventory; macbook has a folder that is to be read only, and one that is another user's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import click, proof
from tests.e2e.click import SMB, USER, as_user, refused
from tests.e2e.fleet import CommandFailed, Fleet
from tests.e2e.proof import ZONE

HOSTS = ("imac", "macbook")
MACBOOK = {
    "services_shares": [
        {"name": "docs", "path": "/srv/docs", "users": [USER]},
        {"name": "private", "path": "/srv/private", "users": ["daemon"], "writable": True},
    ]
}
DISPLAY = f"DISPLAY=:20 XAUTHORITY=/run/btmm-screen-{ZONE}/xauthority"


def offered(fleet: Fleet, **variables: object) -> None:
    """Run the playbook of enrolment on macbook, for what it offers."""
    run = fleet.playbook("playbooks/enrol.yml", "--limit", "macbook", "--tags", "services", variables=variables)
    assert run.code == 0, run.output


@pytest.fixture(scope="module")
def sharing(fleet: Fleet) -> Iterator[Fleet]:
    """Return the fleet where both hosts share, and the user is logged in on both."""
    offered(fleet, **MACBOOK)
    click.log_in(fleet, *HOSTS)
    yield fleet
    offered(fleet)


@pytest.mark.parametrize(("client", "server"), [HOSTS, HOSTS[::-1]])
def test_a_file_is_read_with_a_ticket(sharing: Fleet, client: str, server: str) -> None:
    click.read_file(sharing, client, server)


def test_a_file_is_written_as_the_user_where_that_is_allowed(sharing: Fleet) -> None:
    click.ticket(sharing, "macbook", "imac")
    as_user(sharing, "macbook", f"{SMB} //imac.{ZONE}/docs --command 'put /etc/hostname from-macbook'")
    seen = sharing.shell("imac", "stat --format %U /srv/docs/from-macbook; cat /srv/docs/from-macbook")
    assert seen.split() == [USER, "macbook"]
    click.ticket(sharing, "imac", "macbook")
    said = refused(sharing, "imac", f"{SMB} //macbook.{ZONE}/docs --command 'put /etc/hostname from-imac'")
    assert "NT_STATUS_ACCESS_DENIED" in said


def test_a_folder_for_others_stays_theirs(sharing: Fleet) -> None:
    click.ticket(sharing, "imac", "macbook")
    assert "NT_STATUS_ACCESS_DENIED" in refused(sharing, "imac", f"{SMB} //macbook.{ZONE}/private --command ls")
    # It is said to be there, though; smbclient fails afterwards, since it finds no workgroup by IPv6.
    listed = as_user(sharing, "imac", f"{SMB} --grepable --list macbook.{ZONE} || true")
    assert {"Disk|docs|", "Disk|private|"} <= set(listed.splitlines()), listed


@pytest.mark.parametrize(("client", "server"), [HOSTS, HOSTS[::-1]])
def test_without_a_ticket_nobody_gets_in(sharing: Fleet, client: str, server: str) -> None:
    as_user(sharing, client, "kdestroy -A")
    share = f"//{server}.{ZONE}/docs --command ls"
    refused(sharing, client, f"{SMB} {share}")
    said = refused(sharing, client, f"smbclient --use-kerberos=off --user={USER}%secret {share}")
    assert "NT_STATUS_LOGON_FAILURE" in said
    said = refused(sharing, client, f"smbclient --use-kerberos=off --no-pass --user=% {share}")
    assert "NT_STATUS_ACCESS_DENIED" in said


def test_what_is_on_the_screen_is_on_the_picture(sharing: Fleet) -> None:
    """The picture of a screen that does not change stays the same; with something else on it it is another."""
    click.save_screen(sharing, "macbook", "imac")
    before = click.snapshot(sharing, "macbook", "imac")
    for _ in range(10):  # what is on it from the start may be drawn just now
        last, before = before, click.snapshot(sharing, "macbook", "imac")
        if before == last:
            break
    assert before == last
    unit = "--unit=rehearsal-window --quiet"
    sharing.shell("imac", f"systemd-run {unit} --uid={USER} env {DISPLAY} xlogo -reverse -geometry 1280x800+0+0")
    try:
        for _ in range(30):  # until the window is drawn
            if (after := click.snapshot(sharing, "macbook", "imac")) != before:
                break
        assert after != before
    finally:
        sharing.shell("imac", "systemctl stop rehearsal-window")


def test_the_screen_is_open_to_no_other_program_of_its_host(sharing: Fleet) -> None:
    said = ""
    with pytest.raises(CommandFailed) as failed:
        said = sharing.shell("imac", "runuser --user nobody -- env DISPLAY=:20 timeout 20 xlogo 2>&1")
    assert "Can't open display" in str(failed.value), said


def test_both_are_reached_at_the_ula_only(sharing: Fleet) -> None:
    ula = proof.ula(sharing, "imac")
    listening = sharing.shell("imac", "ss -Hltn | awk '$4 ~ /:(139|445|5900|6020)$/ {print $4}'")
    assert set(listening.split()) == {f"[{ula}]:445", f"[{ula}]:5900"}


def test_what_is_shared_is_advertised(sharing: Fleet) -> None:
    held = {(name, rdata) for name, kind, rdata in proof.zone_records(sharing) if kind == "SRV"}
    assert {
        (f"Bob's\\032iMac._smb._tcp.{ZONE}.", f"0 0 445 imac.{ZONE}."),
        (f"Bob's\\032iMac._rfb._tcp.{ZONE}.", f"0 0 5900 imac.{ZONE}."),
        (f"Bob's\\032MacBook._smb._tcp.{ZONE}.", f"0 0 445 macbook.{ZONE}."),
    } <= held
