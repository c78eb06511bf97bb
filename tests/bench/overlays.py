# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlays that are measured, on one and the same fleet: this collection's, Nebula, tinc. One runs at a time."""

from __future__ import annotations

from typing import Protocol

from tests.e2e import proof
from tests.e2e.fleet import Fleet

HOSTS = {"zone": 1, "peer": 2, "mover": 3}  # host number in the others' networks
PUBLIC = {"zone": "203.0.113.10", "peer": "203.0.113.20"}


class Overlay(Protocol):
    """One way to reach a host wherever it is."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Patterns, what `pgrep --full` finds its processes on a host by."""

    def start(self) -> None:
        """Have it run on all hosts; the configuration is made at the first time."""

    def stop(self) -> None:
        """Have nothing of it run."""

    def address(self, host: str) -> str:
        """Address of a host in the overlay."""

    def connect(self, source: str, target: str) -> None:
        """Have a tunnel that the source began, and no other."""


class Ours:
    """btmm.fleet, enrolled by site.yml before."""

    name: str = "btmm"
    programs: tuple[str, ...] = ("btmm watch", "charon-systemd")

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._units = f"strongswan {proof.WATCHER}"

    def start(self) -> None:
        for host in ("peer", "mover"):
            self._fleet.shell(host, f"systemctl start {self._units}; btmm wait")

    def stop(self) -> None:
        for host in ("peer", "mover"):
            self._fleet.shell(host, f"systemctl stop {self._units} || true")

    def address(self, host: str) -> str:
        return proof.ula(self._fleet, host)

    def connect(self, source: str, target: str) -> None:
        proof.drop_tunnels(self._fleet, source, target)
        self._fleet.on(source, "curl", "-sS", "--fail", "--max-time", "20", f"http://{target}.{proof.ZONE}/")

    def first_byte(self) -> float:
        """Seconds from mover's name to the first byte of its page on peer, with no tunnel before."""
        proof.drop_tunnels(self._fleet, "mover")
        curl = ("curl", "-sS", "--fail", "--max-time", "20", "--output", "/dev/null", "--write-out")
        return float(self._fleet.on("peer", *curl, "%{time_starttransfer}", f"http://mover.{proof.ZONE}/"))


class Unit:
    """An overlay whose daemon is a transient unit of systemd on every host, and which connects by itself."""

    name = ""
    programs: tuple[str, ...] = ()
    daemon = ""
    net = ""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._configured = False

    def start(self) -> None:
        if not self._configured:
            self.configure()
            self._configured = True
        for host in HOSTS:
            self._fleet.shell(host, f"systemd-run --quiet --collect --unit bench-{self.name} {self.daemon}")

    def stop(self) -> None:
        for host in HOSTS:
            self._fleet.shell(host, f"systemctl stop bench-{self.name} 2>&1 || true")

    def address(self, host: str) -> str:
        return f"{self.net}.{HOSTS[host]}"

    def connect(self, source: str, target: str) -> None:
        # A mover of Nebula's tells its lighthouse once a minute, and a handshake that is on its way runs into the void.
        ping = ("ping", "-n", "-c1", "-i0.2", "-w150", self.address(target))
        self._fleet.on(source, *ping, timeout=160)

    def configure(self) -> None:
        """Write the configuration."""
        raise NotImplementedError


class Nebula(Unit):
    """Nebula as its example configuration has it, with hole punching; the zone host is the lighthouse."""

    name = "nebula"
    programs = ("nebula -config",)
    daemon = "nebula -config /etc/nebula/bench.yml"
    net = "10.99.0"

    def configure(self) -> None:
        self._fleet.shell(
            "zone",
            "mkdir -p /run/pki; cd /run/pki; rm -f *; nebula-cert ca -name bench\n"
            + "".join(f"nebula-cert sign -name {host} -ip {self.address(host)}/24\n" for host in HOSTS),
        )
        for host in HOSTS:
            script = "mkdir -p /etc/nebula\n"
            for source, target in (("ca.crt", "ca.crt"), (f"{host}.crt", "host.crt"), (f"{host}.key", "host.key")):
                text = self._fleet.on("zone", "cat", f"/run/pki/{source}")
                script += f"cat > /etc/nebula/{target} <<'END'\n{text}END\n"
            self._fleet.shell(host, script + f"cat > /etc/nebula/bench.yml <<'END'\n{self._settings(host)}END\n")

    def _settings(self, host: str) -> str:
        lighthouse = self.address("zone")
        am = host == "zone"
        everything = "[{port: any, proto: any, host: any}]"
        return (
            "pki: {ca: /etc/nebula/ca.crt, cert: /etc/nebula/host.crt, key: /etc/nebula/host.key}\n"
            f"static_host_map: {{'{lighthouse}': ['{PUBLIC['zone']}:4242']}}\n"
            f"lighthouse: {{am_lighthouse: {str(am).lower()}, interval: 60, "
            f"hosts: [{'' if am else repr(lighthouse)}]}}\n"
            f"listen: {{host: 0.0.0.0, port: {4242 if host in PUBLIC else 0}}}\n"
            "punchy: {punch: true, respond: true}\n"
            "tun: {dev: nebula0}\n"
            f"firewall: {{outbound: {everything}, inbound: {everything}}}\n"
        )


class Tinc(Unit):
    """tinc with its defaults; who is behind a NAT connects to the two public hosts."""

    name = "tinc"
    programs = ("tincd -n bench",)
    daemon = "tincd -n bench -D"
    net = "10.98.0"

    def configure(self) -> None:
        known: dict[str, str] = {}
        for host in HOSTS:
            up = f"ip addr add {self.address(host)}/24 dev $INTERFACE; ip link set $INTERFACE up"
            to = "".join(f"ConnectTo = {other}\\n" for other in PUBLIC if other != host)
            own = f"Subnet = {self.address(host)}/32\\n" + (f"Address = {PUBLIC[host]}\\n" if host in PUBLIC else "")
            known[host] = self._fleet.shell(
                host,
                f"rm -rf /etc/tinc/bench; mkdir -p /etc/tinc/bench/hosts; cd /etc/tinc/bench\n"
                f"printf 'Name = {host}\\n{to}' > tinc.conf; printf '{own}' > hosts/{host}\n"
                f"printf '#!/bin/sh\\n{up}\\n' > tinc-up; chmod +x tinc-up\n"
                f"tincd -n bench -K2048 </dev/null >&2; cat hosts/{host}",
            )
        for host in HOSTS:
            for other, text in known.items():
                self._fleet.shell(host, f"cat > /etc/tinc/bench/hosts/{other} <<'END'\n{text}END")
