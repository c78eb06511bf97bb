# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts and their routers inside one kernel: namespaces, links, charon, and the guard."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.certificates import PREFIX
from tests.kernel.hosts import HOSTS, ZONE, Host, other
from tests.kernel.machine import GuestError, Machine

PATIENCE_S = 120  # for what takes a moment, on a machine that is busy


class Fleet:
    """Two hosts and two routers in one kernel.

    Args:
        machine: the kernel, booted.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._places: dict[str, str] = {}

    def plug(self, folder: Path) -> None:
        """Make the namespaces with what `files.render` made, the links between them, and the routers' NATs."""
        self._machine.send(folder, "/srv/fleet")
        for host in HOSTS:
            self._enter(host.router, "true")
            self._enter(host.label, _lay("/srv/fleet", host))
        home, cafe = (self._places[host.router] for host in HOSTS)
        self.shell("", f"ip link add wan netns {home} type veth peer name wan netns {cafe}")
        for host in HOSTS:
            self._plug(host)

    def shell(self, name: str, script: str, timeout: float = 60) -> str:
        """Run a shell script on a host or a router ("": beside all of them) and return its output."""
        inside = ("nsenter", "--target", self._places[name], "--mount", "--net") if name else ()
        return self._machine.run(*inside, "bash", "-euo", "pipefail", "-c", script, timeout=timeout)

    def guard(self, host: Host) -> None:
        """Load the guard as its unit does."""
        self.shell(host.label, f"nft --file /etc/btmm/{ZONE}/guard.nft")

    def refused(self, host: Host) -> int:
        """Return how many of the host's own packets the guard has refused since it was loaded."""
        return _packets(self.shell(host.label, f"nft list chain inet btmm_guard_{ZONE} output"))

    def seen(self, what: str) -> int:
        """Return how many packets of a kind the routers have seen; the kinds are the counters of watch.nft."""
        return sum(_packets(self.shell(host.router, f"nft list counter inet watch {what}")) for host in HOSTS)

    def lay(self, folder: Path, place: str) -> None:
        """Lay over each host's /etc what a folder has for it; `umount --lazy /etc` takes it off again."""
        self._machine.send(folder, place)
        for host in HOSTS:
            self.shell(host.label, _lay(place, host))

    def start(self, host: Host) -> None:
        """Start charon and give it its configuration, as strongswan.service does."""
        self.shell(host.label, "setsid charon-systemd </dev/null >/run/charon.out 2>&1 & echo $! > /run/charon.pid")
        self.until(host.label, "swanctl --load-all --noprompt")

    def end(self, host: Host, signal: str) -> None:
        """End charon by a signal, and wait until it is gone."""
        self.shell(host.label, f"kill -{signal} $(cat /run/charon.pid)")
        self.until(host.label, "! kill -0 $(cat /run/charon.pid)")

    def _enter(self, name: str, prepare: str) -> None:
        """Make a place with its own network and its own /run."""
        script = f"{prepare}; mount -t tmpfs tmpfs /run; ip link set lo up; touch /run/ready; exec sleep infinity"
        pid = self.shell("", f"unshare --mount --net sh -euc '{script}' >/run/{name}.log 2>&1 & echo $!").strip()
        self._places[name] = pid
        self.until(name, "test -e /run/ready")

    def _plug(self, host: Host) -> None:
        peer, router = other(host), self._places[host.router]
        self.shell("", f"ip link add eth0 netns {self._places[host.label]} type veth peer name lan netns {router}")
        self.shell(
            host.label,
            f"""
            ip address add {host.lan}.10/24 dev eth0; ip -6 address add fe80::2/64 dev eth0 nodad
            ip -6 address add {host.outer6}/64 dev eth0 nodad
            ip -6 address add {host.ula}/128 dev lo
            ip link set eth0 up
            ip route add default via {host.lan}.1
            # As where a LAN has IPv6: what is not caught goes to the router, and from there to the peer.
            ip -6 route add default via fe80::1 dev eth0
            """,
        )
        self.shell(
            host.router,
            f"""
            ip address add {host.lan}.1/24 dev lan; ip -6 address add fe80::1/64 dev lan nodad
            ip address add {host.wan}/24 dev wan; ip -6 address add fe80::{host.number}/64 dev wan nodad
            ip link set lan up; ip link set wan up
            ip -6 route add {host.outer6} via fe80::2 dev lan
            ip -6 route add {peer.outer6} via fe80::{peer.number} dev wan
            ip -6 route add {host.ula} via fe80::2 dev lan
            ip -6 route add {peer.ula} via fe80::{peer.number} dev wan
            sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            nft -f /srv/fleet/nat.nft
            nft -D prefix={PREFIX} -f /srv/fleet/watch.nft
            nft add rule inet filter prerouting_miniupnpd iifname wan udp dport {host.port} \
                dnat ip to {host.lan}.10:4500
            nft add rule inet filter miniupnpd ip daddr {host.lan}.10 udp dport 4500 accept
            """,
        )

    def echo(self, host: Host) -> None:
        """Wait until the other host answers."""
        self.until(host.label, f"ping -c 1 -W 1 -I {host.ula} {other(host).ula}")

    def refuses(self, host: Host) -> None:
        """Wait until the guard refuses packets of the host: until it is the guard alone that keeps them."""
        before, deadline = self.refused(host), time.monotonic() + PATIENCE_S
        while self.refused(host) == before:
            assert time.monotonic() < deadline, f"{host.label} sends nothing that its guard refuses"

    def until(self, name: str, script: str) -> None:
        """Wait until a script succeeds there."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.shell(name, script)
            except GuestError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


def _lay(place: str, host: Host) -> str:
    return f"mount -t overlay -o lowerdir={place}/{host.label}/etc:/etc overlay /etc"


def _packets(listed: str) -> int:
    return sum(map(int, re.findall(r"packets (\d+)", listed)))
