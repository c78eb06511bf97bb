# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate is revoked: within seconds nobody lets its holder in, and nobody else notices."""

from __future__ import annotations

import re
from functools import partial

import pytest
from ansible_collections.btmm.fleet.plugins.filter.crl_records import crl_records

from tests.e2e import calls, proof
from tests.e2e.click import as_user, log_in, ticket
from tests.e2e.echoes import echoes
from tests.e2e.fleet import CommandFailed, Fleet, seconds_until

LIST = f"/etc/swanctl/x509crl/btmm-{proof.ZONE}.pem"
SECOND = LIST.replace(".pem", "+2.pem")  # strongSwan's copy
RECEIVED = f"/var/lib/btmm/{proof.ZONE}/crl.pem"
WATCHED = f"btmm-revoked@{proof.ZONE}.path"
TAKE_UP = f"btmm-revoked@{proof.ZONE}.service"
WITHIN_S = 60  # on a busy machine; otherwise a second or two


def number(fleet: Fleet, host: str, path: str = LIST) -> int:
    """Return the number of the list that a host has."""
    return int(fleet.on(host, "openssl", "crl", "-noout", "-crlnumber", "-in", path).strip().partition("=")[2], 16)


def loaded(fleet: Fleet, host: str) -> int:
    """Return the number of the oldest list that charon may judge by; 0 without one."""
    listed = fleet.on(host, "swanctl", "--list-certs", "--type", "x509_crl")
    found = re.findall(r"^  serial: +([0-9a-f:]+)$", listed, re.MULTILINE)
    return min((int(each.replace(":", ""), 16) for each in found), default=0)


def publish(fleet: Fleet, pem: str) -> None:
    """Make the zone say that this is the list."""
    lines = ["server 127.0.0.1"]
    for record in crl_records(pem):
        name, kind = f"{record['name']}.{proof.ZONE}.", record["type"]
        lines += [f"update delete {name} {kind}", f"update add {name} {record['ttl']} {kind} {record['rdata'][0]}"]
    update = "\n".join([*lines, "send"])
    fleet.shell("zone", f"nsupdate -v -k /etc/bind/btmm/admin.key <<'END'\n{update}\nEND")


def certificate_serial(fleet: Fleet, host: str) -> str:
    """Return the serial number of a host's certificate, hex without separators."""
    path = f"/etc/swanctl/x509/btmm-{proof.ZONE}.pem"
    shown = fleet.on(host, "openssl", "x509", "-noout", "-serial", "-in", path)
    return shown.strip().partition("=")[2].lower()


def own(fleet: Fleet, host: str) -> str:
    return f"{proof.ula(fleet, host)}/128"


def associations(fleet: Fleet, host: str) -> set[str]:
    """Return the SPIs of a host's IKE SAs."""
    return set(re.findall(r"[0-9a-f]{16}_i", fleet.on(host, "swanctl", "--list-sas")))


def peers_of(fleet: Fleet, host: str) -> set[str]:
    """Return the labels of the hosts that a host has tunnels to."""
    listed = fleet.on(host, "swanctl", "--list-sas")
    return set(re.findall(rf"^  remote '([a-z]+)\.{re.escape(proof.ZONE)}'", listed, re.MULTILINE))


def is_refused(fleet: Fleet, server: str) -> bool:
    """Tell whether alice is refused a ticket since her certificate was revoked; what she has does not count."""
    told = as_user(fleet, "macbook", f"kdestroy -A; btmm ticket {server}.{proof.ZONE} || true")
    return "revoked" in told


def has_newer(fleet: Fleet, host: str, former: int) -> bool:
    return loaded(fleet, host) > former


def has_loaded(fleet: Fleet, host: str, wanted: int) -> bool:
    return loaded(fleet, host) == wanted


def is_rid_of(fleet: Fleet, host: str, peer: str) -> bool:
    return peer not in peers_of(fleet, host)


def has_received(fleet: Fleet, host: str, pem: str) -> bool:
    return fleet.on(host, "cat", RECEIVED) == pem


@pytest.fixture(scope="module")
def first_list(fleet: Fleet) -> str:
    """Return the list from before anything was revoked here."""
    return fleet.on("imac", "cat", LIST)


@pytest.mark.usefixtures("first_list")
def test_every_host_and_server_has_the_owners_list(fleet: Fleet) -> None:
    numbers = {host: number(fleet, host) for host in proof.WAN}
    numbers["zone"] = number(fleet, "zone", "/etc/bind/btmm/crl.pem")
    assert len(set(numbers.values())) == 1, numbers
    for host in proof.WAN:
        assert loaded(fleet, host) == numbers[host]


def test_a_lost_list_lets_nobody_in_until_it_is_back(fleet: Fleet) -> None:
    """Who can't tell who was revoked trusts nobody. The daemon's own copy of the list brings it back, by itself."""
    held = number(fleet, calls.PEER)
    proof.drop_tunnels(fleet, "macbook", calls.PEER)
    assert calls.call(fleet, "macbook", own=own(fleet, "macbook")) is None
    proof.drop_tunnels(fleet, "macbook", calls.PEER)
    fleet.shell(calls.PEER, f"systemctl stop {WATCHED}; rm {LIST} {SECOND}; swanctl --load-creds --clear --noprompt")
    assert loaded(fleet, calls.PEER) == 0
    refused = calls.call(fleet, "macbook", own=own(fleet, "macbook"))
    assert refused is not None
    assert "AUTHENTICATION_FAILED" in refused
    assert "nobody is let in without the owner's list" in fleet.shell(calls.PEER, "btmm doctor || true")
    fleet.shell(calls.PEER, f"touch {LIST}; systemctl start {WATCHED}; rm {LIST}")
    seconds_until(partial(has_loaded, fleet, calls.PEER, held), WITHIN_S, "the list is back")
    assert number(fleet, calls.PEER) == held
    assert calls.call(fleet, "macbook", own=own(fleet, "macbook")) is None


def test_a_renewed_certificate_drops_no_tunnel(fleet: Fleet) -> None:
    """As every run does with a third of its life left. The former one counts until it ends, and is remembered."""
    proof.fetch(fleet, "imac", calls.PEER)
    before, former = associations(fleet, calls.PEER), certificate_serial(fleet, calls.PEER)
    with echoes(fleet, "imac", f"mini.{proof.ZONE}") as lost:
        run = fleet.playbook(
            "playbooks/enrol.yml", "--limit", calls.PEER, "--tags", "identity", "-e", "identity_renew_certificate=true"
        )
        assert run.code == 0, run.output
        assert lost() == []
    renewed = certificate_serial(fleet, calls.PEER)
    assert renewed != former
    assert before <= associations(fleet, calls.PEER)
    listed = fleet.on(calls.PEER, "swanctl", "--list-certs", "--type", "x509").replace(":", "")
    assert renewed.lstrip("0") in listed
    proof.fetch(fleet, "imac", calls.PEER)


def test_a_revoked_user_gets_no_more_tickets(fleet: Fleet) -> None:
    """Every KDC has heard of it within seconds. With a new certificate she is back, since the key is still hers."""
    log_in(fleet, "macbook")
    ticket(fleet, "macbook", "imac")
    variables = {"btmm_revoke_users": "alice", "btmm_revoke_reason": "superseded"}
    run = fleet.playbook("playbooks/revoke.yml", variables=variables)
    assert run.code == 0, run.output
    for server in ("imac", "macbook", "mini"):
        seconds_until(partial(is_refused, fleet, server), WITHIN_S, f"the KDC of {server} has heard of it")
    log_in(fleet, "macbook")
    as_user(fleet, "macbook", "kdestroy -A")
    ticket(fleet, "macbook", "imac")


def test_a_revoked_host_is_shut_out_within_seconds(fleet: Fleet) -> None:
    """Its tunnels are closed, its calls refused; a connection of two others goes on meanwhile."""
    for client, server in (("macbook", "imac"), ("macbook", "mini"), ("mini", "imac")):
        proof.fetch(fleet, client, server)
    for client in ("imac", "mini"):
        fleet.on(client, "curl", "--silent", "--fail", "--max-time", "10", f"http://macbook.{proof.ZONE}/")
    former, serial = number(fleet, "imac"), certificate_serial(fleet, "macbook")
    with echoes(fleet, "imac", f"mini.{proof.ZONE}") as lost:
        run = fleet.playbook("playbooks/revoke.yml", variables={"btmm_revoke_hosts": "macbook"})
        assert run.code == 0, run.output
        for host in ("imac", "mini"):
            seconds_until(partial(has_newer, fleet, host, former), WITHIN_S, f"{host} has taken up the list")
            seconds_until(partial(is_rid_of, fleet, host, "macbook"), WITHIN_S, f"{host} is rid of macbook")
            listed = fleet.on(host, "swanctl", "--list-certs", "--type", "x509_crl")
            assert re.sub("[: ]", "", listed).count(serial) == 1
        assert len(lost()) <= 2
    refused = calls.call(fleet, "macbook", own=own(fleet, "macbook"))
    assert refused is not None
    assert "AUTHENTICATION_FAILED" in refused
    assert "macbook" not in peers_of(fleet, calls.PEER)
    assert "this host's certificate was revoked" in fleet.shell("macbook", "btmm doctor || true")


def test_the_relay_lets_it_in_no_more(fleet: Fleet) -> None:
    """It restarted with the new list, and refuses the certificate in the handshake."""
    files = f"/etc/swanctl/private/btmm-{proof.ZONE}.pem /etc/swanctl/x509/btmm-{proof.ZONE}.pem"
    script = (
        "import socket, ssl, sys\n"
        "context = ssl.create_default_context(cafile=sys.argv[3]); context.load_cert_chain(sys.argv[2], sys.argv[1])\n"
        "context.set_alpn_protocols(['btmm-relay'])\n"
        "plain = socket.create_connection(('203.0.113.10', 4501), 5)\n"
        # With TLS 1.3 a client is through with the handshake before the server judges it.
        f"sys.exit(len(context.wrap_socket(plain, server_hostname='zone.{proof.ZONE}').recv(2)) != 2)\n"
    )
    authority = f"/etc/swanctl/x509ca/btmm-{proof.ZONE}.pem"
    fleet.on("mini", "python3", "-c", script, *files.split(), authority)
    with pytest.raises(CommandFailed):
        fleet.on("macbook", "python3", "-c", script, *files.split(), authority)


def test_an_old_list_that_the_zone_brings_back_is_not_taken(fleet: Fleet, first_list: str) -> None:
    """Whoever has the zone can withhold a list, not undo one."""
    held, genuine = number(fleet, "imac"), fleet.on("imac", "cat", LIST)
    for published in (first_list, genuine):
        publish(fleet, published)
        seconds_until(partial(has_received, fleet, "imac", published), WITHIN_S, "imac has heard of the record")
        fleet.on("imac", "systemctl", "start", TAKE_UP)
        assert number(fleet, "imac") == loaded(fleet, "imac") == held


def test_its_key_never_comes_back_but_a_new_one_is_welcome(fleet: Fleet) -> None:
    again = fleet.playbook("playbooks/enrol.yml", "--limit", "macbook")
    assert again.code != 0
    assert re.search(r"macbook: the private key of 'macbook' was revoked .* run unenrol\.yml", again.output)
    left = fleet.playbook("playbooks/unenrol.yml", "--limit", "macbook")
    assert left.code == 0, left.output
    # What was alice's on it, too.
    fleet.on("macbook", "rm", "-r", "/home/alice/.config/btmm")
    run = fleet.playbook("site.yml")
    assert run.code == 0, run.output
    proof.records(fleet)
    proof.fetch(fleet, "macbook", "imac")
