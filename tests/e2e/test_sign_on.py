# SPDX-License-Identifier: GPL-3.0-or-later
"""One sign-on: a realm per host, tickets through the tunnel, and nobody led astray by what the zone says."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import proof
from tests.e2e.click import as_user, log_in, refused, ticket
from tests.e2e.fleet import ROOT, CommandFailed, Fleet, seconds_until
from tests.e2e.proof import FOLDER, WATCHER, ZONE

HOSTS = ("imac", "macbook", "mini")
PORT = 7788
GSS = "/run/gss_peer.py"
IDENTITY = f"FILE:/home/alice/.config/btmm/{ZONE}/user.pem,/home/alice/.config/btmm/{ZONE}/user.key"
# As a client that takes the DNS for an authority: no mapping of names to realms, the TXT decides.
BELIEVING = "/run/believing.conf"
WITHIN_S = 60  # on a busy machine


def status(fleet: Fleet, host: str) -> dict[str, Any]:
    """Return what the daemon itself tells."""
    told: dict[str, Any] = json.loads(fleet.on(host, "cat", f"/run/btmm/{ZONE}/status.json"))
    return told


def drop_in(host: str) -> str:
    """The file by which a client knows a host's realm."""
    return f"/etc/krb5.conf.d/btmm-{ZONE.replace('.', '_')}-{host}.conf"


def mapped(fleet: Fleet, client: str, server: str) -> str:
    """Return the realm that a client takes a host to have; '' for none."""
    found = fleet.shell(client, f"sed -n 's/^ *{server}.{ZONE} = //p' {drop_in(server)} 2>/dev/null || true")
    return found.strip()


def until_mapped(fleet: Fleet, client: str, server: str) -> None:
    """Wait until a client knows a host's true realm."""
    wanted = proof.realm(fleet, server)
    seconds_until(lambda: mapped(fleet, client, server) == wanted, WITHIN_S, f"{client} knows the realm of {server}")


@pytest.fixture(scope="module")
def alice(fleet: Fleet) -> Fleet:
    """Return the fleet with a user who logged in once, on macbook."""
    for host in HOSTS:
        fleet.send(host, ROOT / "tests" / "e2e" / "gss_peer.py", GSS)
        fleet.on(host, "chmod", "a+r", GSS)
    log_in(fleet, "macbook")
    return fleet


@pytest.mark.parametrize("client", HOSTS)
def test_each_host_knows_the_realms_of_all(fleet: Fleet, client: str) -> None:
    for server in HOSTS:
        until_mapped(fleet, client, server)
    seconds_until(lambda: status(fleet, client)["realms_refused"] == {}, WITHIN_S, f"{client} believes all of them")


def test_a_ticket_comes_through_a_tunnel_that_it_opens(alice: Fleet) -> None:
    proof.drop_tunnels(alice, "macbook", "imac")
    realm = proof.realm(alice, "imac")
    said = as_user(alice, "macbook", f"kdestroy -A; btmm ticket imac.{ZONE}")
    assert f"alice@{realm}" in said
    held = as_user(alice, "macbook", "klist -A")
    assert f"krbtgt/{realm}@{realm}" in held
    assert f"remote 'imac.{ZONE}'" in alice.shell("macbook", "swanctl --list-sas")


@pytest.mark.parametrize("port", [88, 445, 5900], ids=["kdc", "share", "screen"])
def test_a_host_is_deaf_to_what_comes_without_the_tunnel(fleet: Fleet, port: int) -> None:
    """Its address is routed to it on the LAN, in clear; the guard drops that."""
    address = proof.ula(fleet, "imac")
    hello = f"import socket; socket.create_connection(({address!r}, {port}), 3)"
    fleet.on("imac", "python3", "-c", hello)
    with lan_route(fleet, address), pytest.raises(CommandFailed, match="timed out"):
        fleet.on("nat-home", "python3", "-c", hello)


@contextmanager
def lan_route(fleet: Fleet, address: str) -> Iterator[None]:
    """Have imac's router reach its ULA as a neighbour would."""
    found = re.search(r"inet6 (fe80[0-9a-f:]+)", fleet.on("imac", "ip", "-6", "addr", "show", "dev", "eth0"))
    assert found, "imac has no link-local address on eth0"
    fleet.on("nat-home", "ip", "-6", "route", "replace", f"{address}/128", "via", found[1], "dev", "lan")
    try:
        yield
    finally:
        fleet.on("nat-home", "ip", "-6", "route", "del", f"{address}/128", "dev", "lan")


@pytest.mark.parametrize("kind", ["hostbased", "principal"])
def test_two_programs_prove_to_each_other_who_they_are(alice: Fleet, kind: str) -> None:
    """Python's gssapi: a context with mutual authentication, then a word each way through it."""
    realm = proof.realm(alice, "imac")
    ticket(alice, "macbook", "imac")
    # MIT's own form of a service's name, and Apple's.
    name = f"host@imac.{ZONE}" if kind == "hostbased" else f"host/{realm}@{realm}"
    said = talk(alice, name, kind)
    assert f"heard: alice@{realm} said hello" in said
    assert "mutual: True" in said
    wanted = f"host/imac.{ZONE}@{realm}" if kind == "hostbased" else name
    assert f"peer: {wanted}" in said


def talk(fleet: Fleet, name: str, kind: str = "hostbased", environment: str = "") -> str:
    """Have alice on macbook call the service on imac."""
    address = proof.ula(fleet, "imac")
    with fleet.started("imac", "timeout", "60", "python3", GSS, "accept", address, str(PORT)) as heard:
        listening = f"ss --no-header --listening --tcp --numeric | grep -q '{PORT}'"
        seconds_until(
            lambda: fleet.shell("imac", f"{listening} && echo yes || echo no").strip() == "yes",
            WITHIN_S,
            "the acceptor",
        )
        try:
            call = f"{environment} python3 {GSS} initiate {address} {PORT} {kind} {shlex.quote(name)}"
            return as_user(fleet, "macbook", call)
        finally:
            fleet.shell("imac", "pkill -f 'gss_peer.py [a]ccept' || true")
            heard()


def test_an_expired_ticket_is_refused_and_replaced(alice: Fleet) -> None:
    realm = proof.realm(alice, "imac")
    as_user(alice, "macbook", f"kdestroy -A; kinit -l 5s -X X509_user_identity={IDENTITY} alice@{realm}")
    seconds_until(
        lambda: as_user(alice, "macbook", "klist -s && echo good || echo over") == "over", WITHIN_S, "its end"
    )
    with pytest.raises(CommandFailed, match=r"expired"):
        talk(alice, f"host@imac.{ZONE}")
    ticket(alice, "macbook", "imac")
    assert "mutual: True" in talk(alice, f"host@imac.{ZONE}")


def test_who_has_no_certificate_gets_no_ticket_and_is_asked_nothing(alice: Fleet) -> None:
    told = refused(alice, "mini", f"btmm ticket imac.{ZONE}")
    assert "btmm login" in told
    realm = proof.realm(alice, "imac")
    bare = refused(alice, "mini", f"kinit alice@{realm}")
    assert "preauthentication" in bare.lower() or "pre-authentication" in bare.lower()
    assert "assword" not in bare


def test_a_wrong_clock_is_named(alice: Fleet) -> None:
    """Her certificate has not begun by it, or a ticket seems to be for later: the KDC tells what time it is."""
    told = as_user(alice, "macbook", f"kdestroy -A; faketime -f -3h btmm ticket imac.{ZONE} || true; kdestroy -A")
    assert f"this host's clock is 3 hours behind that of imac.{ZONE}; set the one that is wrong" in told


def until_doubted(fleet: Fleet, why: str) -> None:
    """Wait until macbook does not believe what is said of imac, for this reason."""
    seconds_until(lambda: why in doubted(fleet, "macbook", "imac"), WITHIN_S, why)


def doubted(fleet: Fleet, client: str, server: str) -> str:
    """Return why a client's daemon does not believe what the zone says of a host's realm."""
    reason: str = status(fleet, client)["realms_refused"].get(server, "")
    return reason


def nsupdate(fleet: Fleet, *lines: str) -> None:
    """Write into the zone with the owner's key: what a thief of it, or of the zone host, could."""
    script = "\n".join(("server 127.0.0.1", f"zone {ZONE}", *lines, "send"))
    fleet.shell("zone", f"nsupdate -k /etc/bind/btmm/admin.key <<'END'\n{script}\nEND")


def test_a_forged_realm_moves_nobody(alice: Fleet) -> None:
    """The zone says of imac what is true of mini, whose KDC plays along: nobody takes mini for imac."""
    name = f"_kerberos.imac.{ZONE}."
    true, false = proof.realm(alice, "imac"), proof.realm(alice, "mini")
    certificate = next(data for _, kind, data in proof.realm_records(alice, "mini") if kind == "CERT")
    kadmin = f"KRB5_CONFIG={FOLDER}/kdc/kdc.conf KRB5_KDC_PROFILE=/dev/null kadmin.local -r {false}"
    alice.shell("mini", f"{kadmin} addprinc -randkey host/imac.{ZONE}")
    for host in ("imac", "mini"):
        ticket(alice, "macbook", host)
    try:
        # The TXT alone, seen by whoever looks anew; then the certificate, too, whose change is told.
        for kind, data, why in (
            ("TXT", false, f"for krbtgt/{true}@{true}, not for {false}"),
            ("CERT", certificate, f"not the owner's word for imac.{ZONE}"),
        ):
            nsupdate(alice, f"update delete {name} {kind}", f"update add {name} 120 {kind} {data}")
            if kind == "TXT":
                alice.on("macbook", "systemctl", "reload", WATCHER)
            until_doubted(alice, why)
            assert mapped(alice, "macbook", "imac") == true
            assert f"peer: host/imac.{ZONE}@{true}" in talk(alice, f"host@imac.{ZONE}")
        # Who believes the TXT is led to mini: the forgery is one that works.
        astray = f"host/imac.{ZONE}@{false}"
        assert astray not in as_user(alice, "macbook", f"kswitch -p alice@{true}; klist -A")
        believing(alice, "macbook", true, false)
        with pytest.raises(CommandFailed):
            talk(alice, f"host@imac.{ZONE}", environment=f"KRB5_CONFIG={BELIEVING}")
        assert astray in as_user(alice, "macbook", "klist -A")
    finally:
        alice.shell("mini", f"{kadmin} delprinc -force host/imac.{ZONE}")
        alice.on("imac", "systemctl", "reload", WATCHER)
    seconds_until(
        lambda: status(alice, "macbook")["realms_refused"] == {}, WITHIN_S, "macbook believes what is true again"
    )
    assert mapped(alice, "macbook", "imac") == true


def believing(fleet: Fleet, host: str, *realms: str) -> None:
    """Write the configuration of a client that looks realms up in the DNS."""
    stanzas = "".join(
        f"  {realm} = {{\n    kdc = {server}.{ZONE}\n  }}\n"
        for realm, server in zip(realms, ("imac", "mini"), strict=True)
    )
    settings = (
        "[libdefaults]\n  dns_lookup_realm = true\n  dns_lookup_kdc = false\n  rdns = false\n"
        "  dns_canonicalize_hostname = false\n  default_ccache_name = DIR:/run/btmm-tickets/%{username}\n"
    )
    fleet.shell(host, f"cat > {BELIEVING} <<'END'\n{settings}[realms]\n{stanzas}END")


def test_a_peer_that_leaves_is_forgotten_and_comes_back(fleet: Fleet) -> None:
    fleet.on("mini", "systemctl", "stop", WATCHER)
    try:
        seconds_until(lambda: mapped(fleet, "macbook", "mini") == "", WITHIN_S, "macbook forgets mini's realm")
    finally:
        fleet.on("mini", "systemctl", "start", WATCHER)
    began = time.monotonic()
    until_mapped(fleet, "macbook", "mini")
    print(f"known again {time.monotonic() - began:.1f} s after its start")
