# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, claim by claim: `make demo` prints the evidence, the end-to-end test asserts the claims.

A claim that does not hold raises AssertionError with what was seen instead.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import packets
from tests.e2e.fleet import ROOT, Fleet

ZONE = "bob.members.example"
LAN = {"imac": "192.168.10.10", "macbook": "192.168.20.10"}  # own addresses of those behind a NAT
FOLDER = f"/etc/btmm/{ZONE}"  # on every host
WATCHER = f"btmm-watcher@{ZONE}.service"
WAN = {"imac": "203.0.113.101", "macbook": "203.0.113.102", "mini": "203.0.113.20"}  # where each host's packets appear

DNSSEC = {"RRSIG", "NSEC", "DNSKEY", "CDS", "CDNSKEY", "TYPE65534"}  # the last is BIND's note of what it signed


@dataclass(frozen=True)
class Evidence:
    """What was seen for one claim."""

    claim: str
    seen: str


def zone_records(fleet: Fleet) -> set[tuple[str, str, str]]:
    """Transfer the zone on its primary; returns (name, type, rdata) without DNSSEC, SOA and NS."""
    text = fleet.on(
        "zone", "dig", "@127.0.0.1", "+noall", "+answer", "+onesoa", "-k", "/etc/bind/btmm/admin.key", ZONE, "AXFR"
    )
    records = set()
    for line in text.splitlines():
        if line and not line.startswith(";"):
            name, _ttl, _class, kind, rdata = line.split(None, 4)
            if kind == "CERT":  # dig breaks base64 into pieces
                rdata = " ".join([*rdata.split()[:3], "".join(rdata.split()[3:])])
            if kind not in {"SOA", "NS"} | DNSSEC:
                records.add((name, kind, rdata))
    return records


def ula(fleet: Fleet, host: str) -> str:
    """Return the host's ULA as it stands on its loopback device."""
    found = re.search(r"inet6 (fd[0-9a-f:]+)/128", fleet.on(host, "ip", "-6", "addr", "show", "dev", "lo"))
    assert found, f"{host} has no ULA on lo"
    return found[1]


def ways(fleet: Fleet, host: str) -> list[list[str]]:
    """Return priority, weight, port and target of each way that the zone tells for a host."""
    name = f"_autotunnel._udp.{host}.{ZONE}."
    return [rdata.split() for owner, kind, rdata in zone_records(fleet) if (owner, kind) == (name, "SRV")]


def priorities(fleet: Fleet, host: str) -> set[str]:
    """Return the priorities at which the zone tells ways to a host."""
    return {way[0] for way in ways(fleet, host)}


def mapped_port(fleet: Fleet, host: str) -> int:
    """Return the outer UDP port that the zone tells for a host."""
    ports = [int(port) for priority, _, port, _ in ways(fleet, host) if priority == "10"]
    assert len(ports) == 1, f"{host} has {len(ports)} SRV records of priority 10"
    return ports[0]


def drop_tunnels(fleet: Fleet, *hosts: str) -> None:
    """Take all tunnels of these hosts down, so that the next connection has to build one."""
    script = (
        "for _ in {1..20}; do\n"
        "  for number in $(swanctl --list-sas | sed -n 's/^[^ ].*: #\\([0-9]*\\),.*/\\1/p'); do\n"
        # The other end may have ended it just now.
        "    swanctl --terminate --ike-id $number --force >/dev/null || true\n"
        "  done\n"
        # Or it begins one just now, since it follows a move of this host.
        "  swanctl --list-sas | grep -q . || exit 0; sleep 0.2\n"
        "done; swanctl --list-sas; exit 1"
    )
    for host in hosts:
        fleet.shell(host, script)


def browse(fleet: Fleet) -> Evidence:
    """Browse from behind a NAT: the other hosts' services are listed."""
    listed = fleet.on("macbook", "dig", "+short", f"_ssh._tcp.{ZONE}", "PTR")
    for title in ("imac", "mini"):
        assert re.search(title, listed, re.IGNORECASE), f"_ssh._tcp.{ZONE} PTR does not list {title}: {listed!r}"
    return Evidence("macbook browses the zone and finds imac and mini", listed.strip())


def expected_records(
    fleet: Fleet, label: str, title: str, model: str, services: dict[str, int], outer: str
) -> set[tuple[str, str, str]]:
    """Return the records of the slides S6-S12 for one host, written out by hand: they check the library."""
    address = ipaddress.IPv6Address(ula(fleet, label))
    target = "AutoTunnel-" + address.packed[8:].hex("-").upper() + f".{ZONE}."
    instance = title.replace(" ", "\\032")
    records = {
        (f"{label}.{ZONE}.", "AAAA", str(address)),
        (f"_autotunnel._udp.{label}.{ZONE}.", "SRV", f"10 0 {mapped_port(fleet, label)} {target}"),
        (f"_autotunnel._udp.{label}.{ZONE}.", "SRV", f"30 0 4501 zone.{ZONE}."),
        (target, "A", outer),
        (f"{instance}._device-info._tcp.{ZONE}.", "TXT", f'"model={model}"'),
    }
    if label in LAN:
        inner = target.replace(".", "-lan.", 1)
        records |= {
            (f"_autotunnel-lan._udp.{label}.{ZONE}.", "SRV", f"0 0 4500 {inner}"),
            (inner, "A", LAN[label]),
        }
    for service, port in services.items():
        records |= {
            (f"{service}.{ZONE}.", "PTR", f"{instance}.{service}.{ZONE}."),
            (f"_services._dns-sd._udp.{ZONE}.", "PTR", f"{service}.{ZONE}."),
            (f"{instance}.{service}.{ZONE}.", "SRV", f"0 0 {port} {label}.{ZONE}."),
            (f"{instance}.{service}.{ZONE}.", "TXT", '""'),
        }
    return records


def realm(fleet: Fleet, host: str) -> str:
    """Return the host's Kerberos realm: SHA-1 over the anchor, as Apple's Local KDCs had it."""
    script = f"openssl x509 -in {FOLDER}/kdc/anchor.pem -outform DER | sha1sum | cut -c 1-40"
    return f"LKDC:SHA1.{fleet.shell(host, script).strip().upper()}"


def realm_records(fleet: Fleet, host: str) -> set[tuple[str, str, str]]:
    """Return what a host tells of its Kerberos realm: the name, and the KDC's certificate."""
    name = f"_kerberos.{host}.{ZONE}."
    certificate = fleet.shell(host, f"openssl x509 -in {FOLDER}/kdc/kdc.pem -outform DER | base64 -w 0").strip()
    return {(name, "TXT", f'"{realm(fleet, host)}"'), (name, "CERT", f"PKIX 0 0 {certificate}")}


def is_trace(name: str, kind: str, rdata: str) -> bool:
    """Tell whether a record is what a host leaves of its lease of two hours; the time is another one each time."""
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    named = re.fullmatch(rf"_lease\.[a-z]+\.{re.escape(ZONE)}\.", name)
    return bool(named and kind == "TXT" and re.fullmatch(rf'"refreshed={when}" "lease=7200"', rdata))


def is_list(name: str, kind: str, rdata: str) -> bool:
    """Tell whether a record is the list of revoked certificates, or its digest; what is on it is another matter."""
    is_digest = kind == "TXT" and re.fullmatch(r'"sha256=[0-9a-f]{64}"', rdata)
    return name == f"_crl.{ZONE}." and bool(is_digest or (kind == "CERT" and rdata.startswith("PKIX 0 0 ")))


def records(fleet: Fleet) -> Evidence:
    """Compare the whole zone with the slides: nothing is missing, nothing is beside it."""
    both = {"_ssh._tcp": 22, "_http._tcp": 80}
    desk = {**both, "_smb._tcp": 445, "_rfb._tcp": 5900}  # a folder and a screen
    expected = expected_records(fleet, "imac", "Bob's iMac", "iMac4,1", desk, WAN["imac"])
    expected |= expected_records(fleet, "mini", "Bob's mini", "Macmini3,1", both, WAN["mini"])
    expected |= expected_records(fleet, "macbook", "Bob's MacBook", "MacBookPro5,1", {"_http._tcp": 80}, WAN["macbook"])
    expected = expected.union(*(realm_records(fleet, host) for host in WAN))
    expected |= {
        (f"zone.{ZONE}.", "A", "203.0.113.10"),
        (f"_dns-update-tls._tcp.{ZONE}.", "SRV", f"0 0 853 zone.{ZONE}."),
        (f"_dns-query-tls._tcp.{ZONE}.", "SRV", f"0 0 853 zone.{ZONE}."),
        (f"_autotunnel-relay._tcp.{ZONE}.", "SRV", f"0 0 4501 zone.{ZONE}."),
        # No NAT, so one outer port for everybody; those of the rehearsal fleet draw another for each.
        (f"_autotunnel._udp.mini.{ZONE}.", "SRV", f"20 0 4501 zone.{ZONE}."),
        (f"_dns-llq-tls._tcp.{ZONE}.", "SRV", f"0 0 5533 zone.{ZONE}."),
        (f"_dns-llq._udp.{ZONE}.", "SRV", f"0 0 5352 zone.{ZONE}."),
        (f"_dns-push-tls._tcp.{ZONE}.", "SRV", f"0 0 8853 zone.{ZONE}."),
    }
    expected |= {(f"{label}._dns-sd._udp.{ZONE}.", "PTR", f"{ZONE}.") for label in ("b", "db", "r", "dr", "lb")}
    held = zone_records(fleet)
    traces = {record for record in held if is_trace(*record)}
    assert {name for name, _, _ in traces} == {f"_lease.{host}.{ZONE}." for host in WAN}, f"traces of leases: {traces}"
    lists = {record for record in held if is_list(*record)}
    assert {kind for _, kind, _ in lists} == {"CERT", "TXT"}, f"lists of revoked certificates: {lists}"
    held -= traces | lists
    assert held == expected, f"missing: {sorted(expected - held)}; beside: {sorted(held - expected)}"
    seen = f"{len(held)} records, the trace of {len(traces)} leases, and the list of revoked certificates"
    return Evidence("the zone holds exactly the records of the slides (S6-S12), for each host", seen)


def fetch(fleet: Fleet, client: str, server: str) -> Evidence:
    """Fetch a page by name with no tunnel up before, at the first try."""
    drop_tunnels(fleet, client, server)
    url = f"http://{server}.{ZONE}/"
    answer = fleet.on(
        client,
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "10",
        "--write-out",
        r"\n%{time_starttransfer}",
        url,
    )
    body, seconds = answer.rsplit("\n", 1)
    assert server in body, f"{url} on {client} gave {body!r}"
    return Evidence(f"curl {url} on {client}, no tunnel before", f"name to first byte {float(seconds) * 1000:.0f} ms")


def log_in(fleet: Fleet, client: str, server: str) -> Evidence:
    """Log in by name with no tunnel up before; the client is lent the rehearsal's key for that moment."""
    drop_tunnels(fleet, client, server)
    name = f"{server}.{ZONE}"
    started = time.monotonic()
    inner = f"ssh -o StrictHostKeyChecking=accept-new -o ConnectTimeout=10 -i /run/rehearsal-key root@{name} hostname"
    fleet.lend_key(client)
    try:
        said = fleet.shell(client, inner).strip()
    finally:
        fleet.on(client, "rm", "-f", "/run/rehearsal-key")
    assert said == server, f"ssh {name} on {client} gave {said!r}"
    return Evidence(f"ssh {name} on {client}, no tunnel before", f"logged in after {time.monotonic() - started:.2f} s")


def wire(fleet: Fleet) -> Evidence:
    """Record the WAN while two NATed hosts connect: it carries IKE and ESP in IPv4/UDP, and nothing else of theirs."""
    path = ROOT / "build" / f"wan-{fleet.name}.pcap"
    with fleet.capture("wan", path):
        fetch(fleet, "macbook", "imac")
    return judge_wire(fleet, path)


def judge_wire(fleet: Fleet, path: Path) -> Evidence:
    """Judge such a recording."""
    tunnel = f"(host {WAN['imac']} and host {WAN['macbook']})"
    # The mapped port of either end, since each may have called the other, or both at once.
    port = mapped_port(fleet, "imac")
    mapped = f"(udp port {port} or udp port {mapped_port(fleet, 'macbook')})"
    ike = packets.count(path, f"{tunnel} and {mapped} and {packets.IKE}")
    keepalive = packets.count(path, f"{tunnel} and {mapped} and {packets.KEEPALIVE}")
    total = packets.count(path, f"{tunnel} and {mapped}")
    esp = total - ike - keepalive
    assert ike >= 4, f"only {ike} IKE packets on {port}"
    assert esp >= 6, f"only {esp} ESP packets on {port}"
    stray = packets.select(path, f"ip and {tunnel} and not {mapped}")
    assert not stray, f"not on a mapped port: {stray[:3]}"
    for what, expression in {
        "an IPv6 ULA packet": "ip6 and (net fc00::/7)",
        "a packet on port 500": "port 500",
        "an HTTP packet": "tcp port 80",
    }.items():
        seen = packets.select(path, expression)
        assert not seen, f"{what} crossed the WAN: {seen[0]}"
    clear = b"This is imac"
    assert clear in fleet.on("imac", "curl", "-s", "http://[::1]/").encode(), (
        "the page does not hold the words looked for"
    )
    assert clear not in path.read_bytes(), "the page crossed the WAN in clear"
    return Evidence(
        "on the WAN: IPv4/UDP with IKE and ESP only",
        f"{ike} IKE, {esp} ESP on UDP {port}; 0 ULA, 0 clear, 0 on port 500",
    )


def guard(fleet: Fleet) -> Evidence:
    """Send a clear-text datagram to imac's ULA from its own LAN."""
    assert not clear_text_is_delivered(fleet), "clear text from the LAN reached a socket on imac's ULA"
    return Evidence("clear text sent to imac's ULA from its own LAN", "not delivered")


def clear_text_is_delivered(fleet: Fleet) -> bool:
    """Send UDP in clear from imac's router to imac's ULA over the LAN; tell whether a socket there got it."""
    address = ula(fleet, "imac")
    found = re.search(r"inet6 (fe80:[0-9a-f:]+)/64", fleet.on("imac", "ip", "-6", "addr", "show", "dev", "eth0"))
    assert found, "imac has no link-local address on eth0"
    listener = (
        "import socket,sys; s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n"
        "s.bind((sys.argv[1],9999)); s.settimeout(2)\n"
        "try: print('got', s.recv(64))\nexcept TimeoutError: print('silence')"
    )
    sender = (
        "import socket,sys,time; s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n"
        "for _ in range(5): s.sendto(b'clear', (sys.argv[1],9999)); time.sleep(0.2)"
    )
    fleet.shell(
        "nat-home",
        f"ip -6 route replace {address}/128 via {found[1]} dev lan; ip -6 addr replace fd00:bad::1/128 dev lan nodad",
    )
    with fleet.started("imac", "python3", "-c", listener, address) as heard:
        time.sleep(0.3)
        fleet.on("nat-home", "python3", "-c", sender, address)
        answer = heard()
    fleet.shell("nat-home", f"ip -6 route del {address}/128 dev lan; ip -6 addr del fd00:bad::1/128 dev lan")
    assert answer in {"silence", "got b'clear'"}, answer
    return answer != "silence"


def again(fleet: Fleet) -> Evidence:
    """Run the playbook a second time: nothing is changed on any host."""
    run = fleet.playbook("site.yml")
    assert run.code == 0, run.output
    changed = {host: counts.changed for host, counts in run.recap.items()}
    assert changed
    assert not any(changed.values()), f"{changed}\n{run.output}"
    return Evidence("a second run of site.yml", f"changed=0 on {', '.join(sorted(changed))} in {run.seconds:.0f} s")


CLAIMS: tuple[Callable[[Fleet], Evidence], ...] = (
    browse,
    records,
    lambda fleet: fetch(fleet, "macbook", "imac"),
    lambda fleet: log_in(fleet, "macbook", "imac"),
    wire,
    guard,
    lambda fleet: fetch(fleet, "imac", "macbook"),
    lambda fleet: fetch(fleet, "mini", "imac"),
    lambda fleet: fetch(fleet, "imac", "mini"),
    lambda fleet: fetch(fleet, "mini", "macbook"),
    lambda fleet: fetch(fleet, "macbook", "mini"),
    again,
)
