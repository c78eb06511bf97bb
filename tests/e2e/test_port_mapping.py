# SPDX-License-Identifier: GPL-3.0-or-later
"""Port mapping with Debian's miniupnpd: each protocol, a taken port, a NAT that reboots, release, suspend."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import packets, proof
from tests.e2e.faults import filtered
from tests.e2e.fleet import ROOT, CommandFailed, Fleet, seconds_until

UNIT = f"btmm-watcher@{proof.ZONE}.service"
STATE = "/var/lib/btmm/portmap.json"
NEW_WAN = "203.0.113.151"
STOPS = 3
WITHIN_S = 30  # without an announcement nothing is asked of a gateway for an hour

# Version 2 (the first octet of the payload) is PCP; what is left on the port is NAT-PMP.
NO_PCP = ["udp dport 5351 @th,64,8 2 drop"]
UPNP_ONLY = ["udp dport 5351 drop"]
NOTHING = ["udp dport 5351 drop", "udp dport 1900 drop"]

# A NAT-PMP request (RFC 6886 section 3.3) for outer UDP 4500 from another address of the LAN; lifetime in seconds.
TAKE = """
import socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("192.168.10.77", 0))
    sock.settimeout(5)
    sock.sendto(struct.pack("!BBHHHL", 0, 1, 0, 4500, 4500, int(sys.argv[1])), ("192.168.10.1", 5351))
    print(struct.unpack("!BBHLHHL", sock.recv(16))[5])
"""


def status(fleet: Fleet, host: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(fleet.on(host, "cat", f"/run/btmm/{proof.ZONE}/status.json"))
    except CommandFailed:
        return {}
    return value


def mapping(fleet: Fleet, host: str) -> dict[str, Any]:
    value: dict[str, Any] = status(fleet, host).get("mapping") or {}
    return value


def published(fleet: Fleet, host: str) -> tuple[set[str], set[int]]:
    """Return the outer addresses and ports that the zone tells for a host, without the relay's (priorities 20, 30)."""
    records = proof.zone_records(fleet)
    srv = [fields for fields in proof.ways(fleet, host) if fields[0] == "10"]
    targets = {fields[3] for fields in srv}
    return {rdata for name, kind, rdata in records if name in targets and kind == "A"}, {int(f[2]) for f in srv}


def until_told(fleet: Fleet, host: str) -> str:
    """Wait until a host says why nothing is mapped, and return it."""
    seconds_until(lambda: status(fleet, host).get("unmapped"), WITHIN_S, "told")
    return str(status(fleet, host)["unmapped"])


def mapped(fleet: Fleet, router: str) -> dict[str, int]:
    """Return each inner address that the router forwards UDP 4500 to, with the outer port."""
    rules = fleet.on(router, "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
    return {inner: int(port) for port, inner in re.findall(r"dport (\d+) dnat ip to ([\d.]+):4500", rules)}


def fresh(fleet: Fleet, host: str) -> None:
    """Start the daemon without what it remembers of gateways."""
    fleet.shell(host, f"systemctl stop {UNIT}; rm -f {STATE}; systemctl start {UNIT}")


def stop_unmapped(fleet: Fleet, host: str, router: str, method: str) -> None:
    """Stop the daemon, which takes its mapping along; again where the machine was too busy for what it has of time."""
    inner = proof.LAN[host]
    for _ in range(STOPS):
        seconds_until(lambda: mapping(fleet, host).get("method") == method, WITHIN_S, f"mapped by {method}")
        assert inner in mapped(fleet, router)
        fleet.on(host, "systemctl", "stop", UNIT)
        if inner not in mapped(fleet, router):
            return
        fleet.on(host, "systemctl", "start", UNIT)
    raise AssertionError(f"{host} stopped {STOPS} times, and each time {router} kept its mapping")


@contextmanager
def told_address(fleet: Fleet, router: str, address: str) -> Iterator[None]:
    """Tell miniupnpd its outer address: by UPnP it keeps one to itself that it takes for private, as RFC 5737's."""
    conf = "/etc/miniupnpd/lab.conf"
    fleet.shell(router, f"echo ext_ip={address} >> {conf}; systemctl restart lab-miniupnpd")
    try:
        yield
    finally:
        fleet.shell(router, f"sed -i /^ext_ip=/d {conf}; systemctl restart lab-miniupnpd")


def reboot(fleet: Fleet, router: str = "nat-home") -> None:
    """Have a gateway forget its mappings, as a router does that starts; miniupnpd itself leaves them in place."""
    chains = ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd")
    flush = "; ".join(f"nft flush chain inet filter {chain}" for chain in chains)
    fleet.shell(router, f"systemctl stop lab-miniupnpd; {flush}; systemctl start lab-miniupnpd")


@pytest.fixture(scope="module", autouse=True)
def _emptied(fleet: Fleet) -> None:
    """Hosts that moved in other tests have left mappings behind, for as long as these were granted."""
    for host, router in (("imac", "nat-home"), ("macbook", "nat-cafe")):
        reboot(fleet, router)
        seconds_until(lambda: len(mapped(fleet, router)) == 1, WITHIN_S, f"{host} is mapped again")  # noqa: B023 - called here


@pytest.fixture
def imac(fleet: Fleet) -> Iterator[Fleet]:
    """Return the fleet; afterwards imac is mapped as at the beginning."""
    yield fleet
    fresh(fleet, "imac")
    seconds_until(lambda: mapping(fleet, "imac").get("method") == "pcp", WITHIN_S, "imac is mapped again")


def test_pcp_is_asked_first_and_alone(imac: Fleet) -> None:
    path = ROOT / "build" / f"home-{imac.name}.pcap"
    imac.on("imac", "systemctl", "stop", UNIT)
    with imac.capture("home", path):
        fresh(imac, "imac")
        seconds_until(lambda: mapping(imac, "imac").get("method") == "pcp", WITHIN_S, "mapped by PCP")
    asked = packets.count(path, "dst port 5351 and udp[8] == 2")
    assert asked >= 1
    # NAT-PMP goes beside a repetition only. Where the gateway answers quickly there is none; after an announcement PCP
    # alone is asked again.
    assert packets.count(path, "dst port 5351 and udp[8] != 2") <= asked - 1
    assert mapped(imac, "nat-home") == {"192.168.10.10": 4500}


def test_nat_pmp_where_pcp_is_not_answered(imac: Fleet) -> None:
    with filtered(imac, "nat-home", NO_PCP, device="lan"):
        fresh(imac, "imac")
        seconds_until(lambda: mapping(imac, "imac").get("method") == "nat-pmp", WITHIN_S, "mapped by NAT-PMP")
        assert mapped(imac, "nat-home") == {"192.168.10.10": 4500}
        proof.fetch(imac, "macbook", "imac")
        stop_unmapped(imac, "imac", "nat-home", "nat-pmp")


# Debian 12 and 13 have different versions of the library.
@pytest.mark.parametrize(("host", "router"), [("imac", "nat-home"), ("macbook", "nat-cafe")], ids=["imac", "macbook"])
def test_upnp_where_5351_is_silent(imac: Fleet, host: str, router: str) -> None:
    wan = proof.WAN[host]
    try:
        with told_address(imac, router, wan), filtered(imac, router, UPNP_ONLY, device="lan"):
            fresh(imac, host)
            seconds_until(lambda: mapping(imac, host).get("method") == "upnp", WITHIN_S, "mapped by UPnP")
            assert mapped(imac, router)[proof.LAN[host]] == 4500
            seconds_until(lambda: published(imac, host) == ({wan}, {4500}), WITHIN_S, "published")
            seconds_until(lambda: not imac.shell(host, "pgrep -f [p]ortmap.igd || true"), WITHIN_S, "the child is gone")
            stop_unmapped(imac, host, router, "upnp")
    finally:
        fresh(imac, host)
    seconds_until(lambda: mapping(imac, host).get("method") == "pcp", WITHIN_S, "mapped by PCP again")


def test_a_gateway_without_any_of_them_is_told_in_one_sentence(imac: Fleet) -> None:
    with filtered(imac, "nat-home", NOTHING, device="lan"):
        fresh(imac, "imac")
        told = until_told(imac, "imac")
    # On a busy machine the search for a UPnP gateway takes longer than is waited for it.
    assert re.fullmatch(
        r"the gateway 192\.168\.10\.1 does not answer on UDP 5351, and no UPnP gateway is found"
        r" \((nothing answers|no answer within 10 s)\): switch PCP, NAT-PMP or UPnP on in its settings",
        told,
    ), told


def test_a_granted_port_that_differs_is_published_and_found(imac: Fleet) -> None:
    imac.on("imac", "systemctl", "stop", UNIT)
    imac.on("imac", "ip", "address", "add", "192.168.10.77/24", "dev", "eth0")
    try:
        assert imac.on("imac", "python3", "-c", TAKE, "600").strip() == "4500"
        imac.shell("imac", f"rm -f {STATE}; systemctl start {UNIT}")
        seconds_until(lambda: mapping(imac, "imac").get("method") == "pcp", WITHIN_S, "mapped")
        port = mapped(imac, "nat-home")["192.168.10.10"]
        assert port != 4500
        seconds_until(lambda: published(imac, "imac") == ({"203.0.113.101"}, {port}), WITHIN_S, "published")
        proof.fetch(imac, "macbook", "imac")
        # The port is asked for again, though 4500 is free now: peers know it.
        imac.on("imac", "python3", "-c", TAKE, "0")
        imac.on("imac", "systemctl", "restart", UNIT)
        seconds_until(lambda: mapped(imac, "nat-home") == {"192.168.10.10": port}, WITHIN_S, "mapped")
    finally:
        imac.on("imac", "python3", "-c", TAKE, "0")
        imac.on("imac", "ip", "address", "delete", "192.168.10.77/24", "dev", "eth0")


def test_a_nat_that_reboots_with_another_address_is_followed_at_once(imac: Fleet) -> None:
    seconds_until(lambda: published(imac, "imac") == ({"203.0.113.101"}, {4500}), WITHIN_S, "published")
    try:
        # miniupnpd 2.3.9 maps nothing any more after its address changed (its issues 890, 904), unless it starts anew.
        imac.lab("plug", "nat-home", "wan", NEW_WAN)
        reboot(imac)
        seconds = seconds_until(lambda: published(imac, "imac") == ({NEW_WAN}, {4500}), WITHIN_S, "published anew")
        assert mapped(imac, "nat-home") == {"192.168.10.10": 4500}
        proof.fetch(imac, "macbook", "imac")
        print(f"published {seconds:.2f} s after the gateway was back")
    finally:
        imac.lab("plug", "nat-home", "wan", "203.0.113.101")
        reboot(imac)
    seconds_until(lambda: published(imac, "imac") == ({"203.0.113.101"}, {4500}), WITHIN_S, "published again")


def test_a_table_that_was_emptied_is_filled_at_once(imac: Fleet) -> None:
    """The address stays, the epoch goes on (system_uptime=yes): only the announcement tells."""
    seconds_until(lambda: mapped(imac, "nat-home") == {"192.168.10.10": 4500}, WITHIN_S, "mapped")
    reboot(imac)
    seconds_until(lambda: mapped(imac, "nat-home") == {"192.168.10.10": 4500}, WITHIN_S, "mapped again")


def test_the_mapping_goes_when_the_daemon_stops(imac: Fleet) -> None:
    stop_unmapped(imac, "imac", "nat-home", "pcp")


def test_a_suspend_takes_the_host_out_of_the_zone_and_the_resume_puts_it_back(imac: Fleet) -> None:
    """What systemd-sleep(8) runs; the containers themselves can't sleep."""
    hook = "/usr/lib/systemd/system-sleep/btmm"
    imac.on("imac", hook, "pre", "suspend")
    assert proof.ways(imac, "imac") == []
    assert mapped(imac, "nat-home") == {}
    imac.on("imac", hook, "post", "suspend")
    seconds_until(lambda: published(imac, "imac") == ({"203.0.113.101"}, {4500}), WITHIN_S, "published again")
    proof.fetch(imac, "macbook", "imac")
