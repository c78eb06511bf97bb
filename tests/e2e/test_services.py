# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that take tickets, through the tunnel: log in and read pages with no key and no password.

imac (Debian 12) and macbook (Debian 13) offer the same to each other; macbook's pages are for somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.e2e import proof
from tests.e2e.click import USER, as_user, log_in, refused, ticket
from tests.e2e.fleet import Fleet
from tests.e2e.proof import ZONE

HOSTS = ("imac", "macbook")
PORT = 8080  # the rehearsal's own page, for everybody, has port 80
OFFERS = {
    "btmm_services": [],
    "services_shares": [],
    "services_screen": {},
    "services_ssh": True,
    "services_web": True,
    "services_web_port": PORT,
    "services_web_users": "{{ [] if inventory_hostname == 'imac' else ['bob'] }}",
}
# Without configuration, in which ssh gets itself a ticket.
SSH = (
    "ssh -F /dev/null -o ConnectTimeout=20 -o GSSAPIAuthentication=yes -o PubkeyAuthentication=no"
    " -o PasswordAuthentication=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null"
)
# Nothing but the ticket, in both directions: no key of the client, and no known key of the server.
BY_TICKET = f"{SSH} -o GSSAPIKeyExchange=yes -o StrictHostKeyChecking=yes"
ANYWAY = f"{SSH} -o GSSAPIKeyExchange=no -o StrictHostKeyChecking=no"
CURL = "curl --silent --show-error --max-time 20 --write-out '\\n%{http_code}'"


def enrolled(fleet: Fleet, variables: Mapping[str, object], tags: str = "services") -> None:
    """Run the playbook of enrolment on the two hosts, for what they offer."""
    run = fleet.playbook("playbooks/enrol.yml", "--limit", ",".join(HOSTS), "--tags", tags, variables=variables)
    assert run.code == 0, run.output


@pytest.fixture(scope="module")
def offering(fleet: Fleet) -> Iterator[Fleet]:
    """Return the fleet where both hosts offer what takes tickets, and know the user; nobody has a ticket."""
    enrolled(fleet, OFFERS)
    log_in(fleet, *HOSTS)
    yield fleet
    enrolled(fleet, {})


@pytest.fixture
def no_ticket(offering: Fleet) -> Fleet:
    """Return it with no ticket anywhere."""
    for host in HOSTS:
        as_user(offering, host, "kdestroy -A")
    return offering


@pytest.fixture
def tickets(offering: Fleet) -> Fleet:
    """Return it with the user's ticket for the other host on each."""
    for client, server in zip(HOSTS, reversed(HOSTS), strict=True):
        ticket(offering, client, server)
    return offering


@pytest.mark.parametrize(("client", "server"), [HOSTS, HOSTS[::-1]])
def test_without_a_ticket_nobody_gets_in(no_ticket: Fleet, client: str, server: str) -> None:
    said = refused(no_ticket, client, f"{ANYWAY} {server}.{ZONE} true")
    assert "Permission denied" in said
    assert "gssapi-with-mic" in said  # it was offered
    for how in ("", "--negotiate --user :"):
        said = as_user(no_ticket, client, f"{CURL} {how} http://{server}.{ZONE}:{PORT}/")
        assert said.endswith("\n401"), said


@pytest.mark.parametrize(("client", "server"), [HOSTS, HOSTS[::-1]])
def test_a_ticket_logs_in_and_proves_the_server(tickets: Fleet, client: str, server: str) -> None:
    said = as_user(tickets, client, f"{BY_TICKET} {server}.{ZONE} 'whoami; hostname; echo $SSH_CONNECTION'")
    user, name, ways = said.splitlines()[-3:]
    assert (user, name) == (USER, server)
    assert (ways.split()[0], ways.split()[2]) == (proof.ula(tickets, client), proof.ula(tickets, server))


def test_ssh_gets_its_ticket_itself(no_ticket: Fleet) -> None:
    """After a login once, nothing is typed, and no host key is known or asked about."""
    known = "-o StrictHostKeyChecking=yes -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null"
    assert as_user(no_ticket, "macbook", f"ssh {known} imac.{ZONE} whoami").endswith(USER)


def test_a_ticket_of_one_user_is_none_of_another(tickets: Fleet) -> None:
    assert "Permission denied" in refused(tickets, "macbook", f"{BY_TICKET} root@imac.{ZONE} true")


def test_a_ticket_for_one_host_is_none_for_another(tickets: Fleet) -> None:
    """Each host has a realm of its own: at home alice has no ticket for the realm of macbook."""
    assert as_user(tickets, "imac", f"{BY_TICKET} macbook.{ZONE} whoami").endswith(USER)
    assert "Permission denied" in refused(tickets, "imac", f"{ANYWAY} imac.{ZONE} whoami")


def test_a_page_is_read_with_a_ticket(tickets: Fleet) -> None:
    said = as_user(tickets, "macbook", f"{CURL} --negotiate --user : http://imac.{ZONE}:{PORT}/")
    assert said.endswith("\n200"), said
    assert "imac" in said


def test_a_page_for_others_stays_theirs(tickets: Fleet) -> None:
    said = as_user(tickets, "imac", f"{CURL} --negotiate --user : http://macbook.{ZONE}:{PORT}/")
    assert said.splitlines()[-1] in {"401", "403"}, said
    assert "macbook" not in said.replace(ZONE, "").splitlines()[0]


def test_new_keys_are_known_to_all_and_tickets_for_the_old_ones_serve(tickets: Fleet) -> None:
    page = f"{CURL} --negotiate --user : http://imac.{ZONE}:{PORT}/"
    assert as_user(tickets, "macbook", page).endswith("\n200")
    enrolled(tickets, {**OFFERS, "lkdc_rotate": True}, tags="lkdc,services")
    for version in (1, 2):
        assert as_user(tickets, "macbook", page).endswith("\n200")
        said = as_user(tickets, "macbook", f"kvno -S HTTP imac.{ZONE}; {BY_TICKET} imac.{ZONE} whoami")
        assert f"kvno = {version}" in said
        assert said.endswith(USER)
        as_user(tickets, "macbook", "kdestroy -A")
        ticket(tickets, "macbook", "imac")


def test_nothing_is_offered_outside_of_the_tunnel(offering: Fleet) -> None:
    for host in HOSTS:
        listening = offering.shell(
            host, f"ss --no-header --listening --tcp --numeric | awk '$4 ~ /:{PORT}$/ {{print $4}}'"
        )
        assert listening.split() == [f"[{proof.ula(offering, host)}]:{PORT}"]
        said = refused(offering, host, f"{ANYWAY} 127.0.0.1 true")
        assert "Permission denied" in said
        assert "gssapi" not in said


def test_what_is_set_up_is_advertised_and_nothing_else(offering: Fleet) -> None:
    for host in HOSTS:
        assert offered(offering, host) == {("_ssh._tcp", 22), ("_http._tcp", PORT)}


def offered(fleet: Fleet, host: str) -> set[tuple[str, int]]:
    """Return types and ports of the services that the zone tells of a host."""
    return {
        (".".join(name.split(".")[-6:-4]), int(rdata.split()[2]))
        for name, kind, rdata in proof.zone_records(fleet)
        if kind == "SRV" and rdata.endswith(f" {host}.{ZONE}.") and not name.startswith("_")
    }
