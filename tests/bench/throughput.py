# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlays of `make bench-ipsec` besides those of `overlays`: strongSwan by itself, and WireGuard in user space."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass

from tests.bench.idle import processor_s
from tests.bench.overlays import HOSTS, PUBLIC, Overlay, Unit
from tests.e2e.fleet import Fleet

ENDS = ("mover", "peer")  # who begins the tunnel and sends, from behind a NAT; who is public
STREAM_S = 6
# What role tunnel sets, and nothing else, so that the daemons beside charon make the difference, or our rules.
SETTINGS = """
include /etc/strongswan.conf
charon-systemd { plugins { vici { socket = unix:///run/raw/charon.vici } } }
"""


class Raw(Unit):
    """strongSwan alone: the same release and proposals, one connection written by hand, no daemon of ours beside it."""

    name = "raw"
    programs = ("charon-systemd",)
    daemon = "--setenv STRONGSWAN_CONF=/run/raw/strongswan.conf /usr/sbin/charon-systemd"

    def __init__(self, fleet: Fleet, ike: str, esp: str) -> None:
        super().__init__(fleet)
        self._proposals = ike, esp

    def address(self, host: str) -> str:
        return f"2001:db8:99::{HOSTS[host]}"

    def configure(self) -> None:
        for host, other in (ENDS, ENDS[::-1]):
            ike, esp = self._proposals
            self._fleet.shell(
                host,
                "mkdir -p /run/raw/swanctl/conf.d\n"
                f"cat > /run/raw/strongswan.conf <<'END'\n{SETTINGS}END\n"
                "cat > /run/raw/swanctl/swanctl.conf <<'END'\n"
                f"connections {{ raw {{\n version = 2\n proposals = {ike}\n local_port = 4500\n encap = yes\n"
                f" remote_addrs = {PUBLIC.get(other, '%any')}\n remote_port = 4500\n"
                f" local {{ auth = psk\n id = {host} }}\n remote {{ auth = psk\n id = {other} }}\n"
                f" children {{ raw {{ esp_proposals = {esp}\n local_ts = {self.address(host)}/128\n"
                f" remote_ts = {self.address(other)}/128 }} }} }} }}\n"
                "secrets { ike-raw { secret = what-is-measured-is-not-this } }\nEND\n"
                f"ip -6 address replace {self.address(host)}/128 dev lo",
            )

    def start(self) -> None:
        super().start()
        load = "SWANCTL_DIR=/run/raw/swanctl swanctl --load-all --uri unix:///run/raw/charon.vici"
        for host in ENDS:
            self._fleet.shell(host, f"for _ in {{1..50}}; do {load} && exit; sleep 0.1; done; exit 1")

    def connect(self, source: str, target: str) -> None:
        self._fleet.shell(source, "swanctl --initiate --child raw --uri unix:///run/raw/charon.vici")


class WireGuard(Unit):
    """WireGuard's implementation in user space: a kernel that has neither ESP nor WireGuard is what is compared."""

    name = "wireguard-go"
    programs = ("wireguard-go",)
    daemon = "/usr/bin/wireguard-go --foreground wg0"
    net = "10.97.0"

    def configure(self) -> None:
        for host in HOSTS:
            self._fleet.shell(host, "umask 077; wg genkey > /run/wg.key")

    def start(self) -> None:
        super().start()
        keys = {host: self._fleet.shell(host, "wg pubkey < /run/wg.key").strip() for host in HOSTS}
        for host, other in (ENDS, ENDS[::-1]):
            where = f"endpoint {PUBLIC[other]}:51820" if other in PUBLIC else ""
            self._fleet.shell(
                host,
                "for _ in {1..50}; do test -e /var/run/wireguard/wg0.sock && break; sleep 0.1; done\n"
                "wg set wg0 listen-port 51820 private-key /run/wg.key "
                f"peer {keys[other]} allowed-ips {self.address(other)}/32 {where}\n"
                f"ip address add {self.address(host)}/24 dev wg0; ip link set wg0 up",
            )


@dataclass(frozen=True)
class Stream:
    """One TCP stream: Mbit/s of payload, and seconds of processor at both ends for each Gbit."""

    mbit: float
    cpu_s_per_gbit: float


def stream(fleet: Fleet, overlay: Overlay) -> Stream:
    """Send for STREAM_S seconds through a tunnel that stands."""
    source, target = ENDS
    fleet.shell(target, "iperf3 --server --one-off --daemon")
    before = [processor_s(fleet, host, program) for host in ENDS for program in overlay.programs]
    said = fleet.on(
        source, "iperf3", "--client", overlay.address(target), "--time", str(STREAM_S), "--omit", "1", "--json",
        timeout=STREAM_S + 30,
    )  # fmt: skip
    after = [processor_s(fleet, host, program) for host in ENDS for program in overlay.programs]
    received = json.loads(said)["end"].get("sum_received")
    assert received, f"{overlay.name} carried no stream: {said}"
    spent = sum(later - earlier for earlier, later in zip(before, after, strict=True))
    gbit = received["bits_per_second"] * (STREAM_S + 1) / 1e9  # the second that is left out took processor time, too
    return Stream(received["bits_per_second"] / 1e6, spent / gbit)


def middle(streams: list[Stream]) -> Stream:
    """Return the median of each figure."""
    return Stream(
        statistics.median(each.mbit for each in streams), statistics.median(each.cpu_s_per_gbit for each in streams)
    )
