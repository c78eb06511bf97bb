# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts whose gateways map nothing: mediated where their NATs keep the port, relayed where they do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import packets, proof
from tests.e2e.fleet import ROOT, Fleet, seconds_until

ROUTERS = {"imac": "nat-home", "macbook": "nat-cafe"}
ZONE_HOST = "203.0.113.10"
WITHIN_S = 40.0  # a gateway is asked in vain for about ten seconds
SHOWN_WITHIN_S = 10.0  # the status follows what charon does
TTL_S = 120.0  # macbook learns of it by then, if nobody tells it sooner
SAID = "/run/said"
RELAYED = "udp portrange 40000-40999"
# An INFORMATIONAL exchange of IKE (RFC 7296, section 3.1), four zero octets before its header (RFC 3948, section 2.2).
ENDING = f"({packets.IKE} and udp[30] == 37)"
TOKEN = "(udp[4:2] == 28 and udp[8:4] == 0x62746d52)"  # docs/architecture.md, "The relay"


def is_reached(fleet: Fleet, host: str, best: str) -> bool:
    """Tell whether the best way to a host has this priority."""
    return min(proof.priorities(fleet, host), default=None) == best


def rung(fleet: Fleet, host: str, peer: str) -> str | None:
    """Return by which way a host has its tunnel to another one."""
    told = json.loads(fleet.shell(host, "btmm status --json || true"))
    return next((each["rung"] for each in told["peers"] if each["name"] == f"{peer}.{proof.ZONE}"), None)


def until_rung(fleet: Fleet, host: str, peer: str, expected: str, within_s: float = SHOWN_WITHIN_S) -> None:
    """Wait until a host shows that it has its tunnel to another one by this way."""
    seconds_until(
        lambda: rung(fleet, host, peer) == expected,
        within_s,
        f"the tunnel of {host} to {peer} is {expected}",
        lambda: fleet.shell(host, f"btmm status || true; journalctl -n 30 -o cat -u {proof.WATCHER}"),
    )


def change(fleet: Fleet, translate: str, *, mapping: bool) -> None:
    """Have both routers translate so, and map or not; they forget all they knew."""
    for router in ROUTERS.values():
        fleet.shell(
            router,
            f"systemctl {'start' if mapping else 'stop'} lab-miniupnpd\n"
            "nft flush chain inet filter prerouting_miniupnpd\n"
            "nft flush chain inet filter postrouting\n"
            "nft add rule inet filter postrouting jump postrouting_miniupnpd\n"
            f"nft add rule inet filter postrouting oifname wan {translate}\n"
            "conntrack --flush 2>/dev/null",
        )
    for host in ROUTERS:
        fleet.on(host, "systemctl", "restart", f"btmm-watcher@{proof.ZONE}")
    best = "10" if mapping else "20" if translate == "masquerade" else "30"
    for host in ROUTERS:
        seconds_until(partial(is_reached, fleet, host, best), WITHIN_S, f"the best way to {host} has priority {best}")


@pytest.fixture(scope="module")
def relayed(fleet: Fleet) -> Iterator[Fleet]:
    """Neither gateway maps, and each flow has another port."""
    change(fleet, "masquerade random", mapping=False)
    yield fleet
    change(fleet, "masquerade random", mapping=True)


@pytest.fixture(scope="module")
def capture(relayed: Fleet) -> Path:
    """Record the WAN while the page is fetched over the relay."""
    path = ROOT / "build" / f"relay-{relayed.name}.pcap"
    with relayed.capture("wan", path):
        proof.fetch(relayed, "macbook", "imac")
    return path


def test_only_the_relay_is_published(relayed: Fleet) -> None:
    assert {host: proof.priorities(relayed, host) for host in ROUTERS} == {"imac": {"30"}, "macbook": {"30"}}
    told = relayed.shell("imac", "btmm status || true")
    assert "by the relay zone." in told, told


def test_the_page_opens_over_the_relay_and_the_status_says_so(relayed: Fleet, capture: Path) -> None:
    until_rung(relayed, "macbook", "imac", "relayed")
    until_rung(relayed, "imac", "macbook", "relayed")


def test_the_relay_carries_only_ike_and_esp(relayed: Fleet, capture: Path) -> None:
    total = packets.count(capture, RELAYED)
    kinds = {
        "ike": packets.count(capture, f"{RELAYED} and {packets.IKE}"),
        "token": packets.count(capture, f"{RELAYED} and {TOKEN}"),
        "keepalive": packets.count(capture, f"{RELAYED} and {packets.KEEPALIVE}"),
    }
    assert kinds["ike"] >= 8, kinds  # four messages, in and out
    assert kinds["token"] >= 2, kinds
    assert total - sum(kinds.values()) >= 12, f"{total} datagrams, {kinds}"
    outer = {host: proof.WAN[host] for host in ROUTERS}
    direct = packets.select(capture, f"host {outer['imac']} and host {outer['macbook']} and udp")
    assert not direct, direct[:3]
    octets = capture.read_bytes()
    assert b"This is imac" not in octets
    assert proof.ula(relayed, "imac") not in "".join(packets.select(capture, "ip6"))


def test_what_the_relay_forwards_it_forwards_unchanged(relayed: Fleet, capture: Path) -> None:
    """Each ESP packet that goes in comes out: the same octets, toward the other host."""
    seen: dict[str, list[str]] = {"in": [], "out": []}
    for direction, host in (("in", "dst"), ("out", "src")):
        expression = f"{RELAYED} and {host} host {ZONE_HOST} and udp[4:2] > 40 and not {packets.IKE}"
        lines = packets.select(capture, expression, "-x")
        whole = "".join(line.partition(":")[2].replace(" ", "") if line.startswith("\t") else "\n" for line in lines)
        seen[direction] = sorted(line[56:] for line in whole.split())  # after 20 octets of IPv4 and 8 of UDP
    assert seen["in"]
    assert seen["in"] == seen["out"]


def test_the_relay_has_no_key_to_it(relayed: Fleet) -> None:
    script = (
        "pid=$(systemctl show --property MainPID --value btmm-relay)\n"
        "! systemctl is-active --quiet strongswan\n"
        "find /proc/$pid/root/etc/bind /proc/$pid/root/etc/swanctl/private -type f 2>/dev/null || true"
    )
    files = {Path(line).name for line in relayed.shell("zone", script).split()}
    assert files == {"cert.pem", "key.pem", "ca.pem", "crl.pem"}
    # That key is the zone server's, for its own TLS: no host's.
    server = relayed.on("zone", "openssl", "x509", "-in", "/etc/bind/btmm/cert.pem", "-noout", "-subject")
    assert f"zone.{proof.ZONE}" in server


def test_connections_survive_a_restart_of_the_relay(relayed: Fleet) -> None:
    proof.fetch(relayed, "macbook", "imac")
    serve = "import socket; s = socket.create_server(('::', 9998), family=socket.AF_INET6); c, _ = s.accept(); "
    call = f"import os, pathlib, socket, time; c = socket.create_connection(('imac.{proof.ZONE}', 9998), timeout=30); "
    # Between the two words it waits until somebody takes a file away.
    echo = "[c.sendall(c.recv(8)) for _ in range(2)]"
    first = f"c.sendall(b'one'); print(c.recv(8)); pathlib.Path('{SAID}').touch()\n"
    then = f"while os.path.exists('{SAID}'): time.sleep(0.1)\nc.sendall(b'two'); print(c.recv(8))"
    with relayed.started("imac", "python3", "-c", serve + echo):
        seconds_until(lambda: relayed.on("imac", "ss", "-Hlnt", "sport = 9998"), WITHIN_S, "imac listens")
        with relayed.started("macbook", "python3", "-c", call + first + then) as said:
            seconds_until(lambda: relayed.shell("macbook", f"ls {SAID} || true"), WITHIN_S, "the first word is said")
            relayed.on("zone", "systemctl", "restart", "btmm-relay")
            relayed.on("macbook", "rm", SAID)
            assert said() == "b'one'\nb'two'"
    until_rung(relayed, "macbook", "imac", "relayed")


def test_nats_that_keep_the_port_are_opened_for_a_direct_call(relayed: Fleet) -> None:
    change(relayed, "masquerade", mapping=False)
    try:
        path = ROOT / "build" / f"mediated-{relayed.name}.pcap"
        with relayed.capture("wan", path):
            proof.fetch(relayed, "macbook", "imac")
        until_rung(relayed, "macbook", "imac", "mediated")
        # Flows of before may be kept up for a while, or be told there that they end; they carry nothing.
        carried = packets.select(path, f"{RELAYED} and not {TOKEN} and not {packets.KEEPALIVE} and not {ENDING}")
        assert not carried, carried[:3]
        between = f"host {proof.WAN['imac']} and host {proof.WAN['macbook']} and udp port 4500"
        assert packets.count(path, f"{between} and {packets.IKE}") >= 4
    finally:
        change(relayed, "masquerade random", mapping=False)


def test_a_tunnel_goes_back_to_a_direct_way_when_there_is_one(relayed: Fleet) -> None:
    proof.fetch(relayed, "macbook", "imac")
    until_rung(relayed, "macbook", "imac", "relayed")
    relayed.on("nat-home", "systemctl", "start", "lab-miniupnpd")  # it announces itself
    try:
        seconds_until(lambda: "10" in proof.priorities(relayed, "imac"), WITHIN_S, "imac is mapped")
        until_rung(relayed, "macbook", "imac", "direct", TTL_S + WITHIN_S)
        proof.fetch(relayed, "macbook", "imac")
        until_rung(relayed, "macbook", "imac", "direct")
    finally:
        relayed.on("nat-home", "systemctl", "stop", "lab-miniupnpd")
