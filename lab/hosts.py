# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's hosts: start, restart, stop."""

import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import fabric, files, image, limits, podman
from lab.archive import archive
from lab.errors import LabError
from lab.net import AddressOfInterface
from lab.paths import lock
from lab.run import run
from lab.ssh import SshFiles
from lab.topology import Host, Interface, Topology

BOOT_SECONDS = 90.0
_SETTLED = ("running", "degraded")


class Fleet:
    """One fleet: its folder of state, its network and its containers."""

    def __init__(
        self, name: str, folder: Path, topology: Topology, topology_file: Path, say: Callable[[str], None]
    ) -> None:
        self.name = name
        self.folder = folder
        self.topology = topology
        self.fabric = fabric.Fabric(name, topology)
        self.ssh = SshFiles(folder, name)
        self._topology_file = topology_file
        self._say = say
        self._command = f"lab/lab --fleet {name}"

    def container(self, host: str) -> str:
        """Name of a host's container."""
        return fabric.host_netns(self.name, host)

    def up(self, hosts: Iterable[Host]) -> None:
        """Start the hosts that do not run yet, and return when each has booted and lets the operator in.

        Raises:
            LabError: names every host that did not come up, and why; the others run.
        """
        wanted = list(hosts)
        image.ensure({host.image for host in wanted})
        options = podman.detect(image.tag(wanted[0].image))
        if former := limits.raise_inotify():
            self._say(f"raised {limits.INOTIFY} of this machine from {former} to {limits.WANTED}")
        with lock(self.folder.with_suffix(".lock")):
            self._prepare(wanted)
            self.fabric.ensure()
            running = podman.containers(self.name)
            new = [host for host in wanted if running.get(self.container(host.name)) != "running"]
            self._each(new, lambda host: self._start(host, options))
            self._each(wanted, self._wait)

    def restart(self, host: Host) -> None:
        """Reboot: as on a real machine nothing of the network stack outlives it, and it is plugged where it was."""
        self.require_running(host)
        plugs = self._plugs(host)
        run(["podman", "stop", "--time", "10", self.container(host.name)])
        self.fabric.detach(host)
        self.fabric.attach(host, plugs)
        run(["podman", "start", self.container(host.name)])
        self._wait(host)

    def plug(
        self, host: Host, segment: str, addresses: tuple[AddressOfInterface, ...]
    ) -> tuple[AddressOfInterface, ...]:
        """Plug a running host's uplink into a segment; without addresses it gets its own there, or free ones."""
        self.require_running(host)
        if not addresses:
            own = next((i.addresses for i in host.interfaces if i.segment == segment), None)
            addresses = own or self.fabric.free_addresses(segment)
        for end, plug in self.fabric.plugs().items():
            for address in addresses:
                if address in plug.addresses and end != fabric.port(host.name, host.uplink.name):
                    raise LabError(f"{host.name} cannot have {address.ip}: {end} has it; name another address")
        self.fabric.plug(host, host.uplink.name, segment, addresses)
        return addresses

    def unplug(self, host: Host) -> None:
        """Pull a running host's uplink."""
        self.require_running(host)
        self.fabric.unplug(host, host.uplink.name)

    def down(self) -> None:
        """Remove containers, network and state of this fleet; the images stay."""
        with lock(self.folder.with_suffix(".lock")):
            if names := list(podman.containers(self.name)):
                run(["podman", "rm", "--force", "--time", "0", *names])
            self.fabric.remove()
            if self.folder.exists():
                shutil.rmtree(self.folder)

    def status(self) -> list[dict[str, Any]]:
        """Every host of the topology with its state, where its uplink is plugged, and its addresses now."""
        states = podman.containers(self.name)
        plugs = self.fabric.plugs()
        rows: list[dict[str, Any]] = []
        for host in self.topology.hosts.values():
            name = self.container(host.name)
            segments = {
                interface.name: plug.segment
                for interface in host.interfaces
                if (plug := plugs.get(fabric.port(host.name, interface.name)))
            }
            rows.append(
                {
                    "host": host.name,
                    "kind": host.kind,
                    "image": host.image.release,
                    "state": states.get(name, "absent"),
                    "segments": segments,
                    "addresses": fabric.addresses(name),
                }
            )
        return rows

    def require_running(self, host: Host) -> None:
        """LabError unless the host runs."""
        state = podman.containers(self.name).get(self.container(host.name), "absent")
        if state != "running":
            raise LabError(
                f"host {host.name} of fleet {self.name} is {state}; start it: {self._command} up {host.name}"
            )

    def _prepare(self, hosts: list[Host]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "topology").write_text(f"{self._topology_file}\n")
        passphrase = self.folder / "passphrase"
        if not passphrase.exists():
            passphrase.touch(mode=0o600)
            passphrase.write_text(f"{secrets.token_urlsafe(24)}\n")
        self.ssh.client_key()
        for host in hosts:
            self.ssh.host_key(host.name)
        self.ssh.write_config()

    def _plugs(self, host: Host) -> list[tuple[Interface, fabric.Plug]]:
        now = self.fabric.plugs()
        return [
            (
                interface,
                now.get(fabric.port(host.name, interface.name), fabric.Plug(interface.segment, interface.addresses)),
            )
            for interface in host.interfaces
        ]

    def _start(self, host: Host, options: podman.Options) -> None:
        name = self.container(host.name)
        made = name in podman.containers(self.name)
        plugs = self._plugs(host) if made else [(i, fabric.Plug(i.segment, i.addresses)) for i in host.interfaces]
        self.fabric.detach(host)
        self.fabric.attach(host, plugs)
        if not made:
            run(podman.create_command(options, name, host.name, self.name, image.tag(host.image)))
            content = files.host_files(host, self.name, self.ssh.client_key(), self.ssh.host_key(host.name))
            try:
                run(["podman", "cp", "-", f"{name}:/"], stdin=archive(content))
            except LabError:
                # Left behind, the next `up` would take it for a host with its files.
                run(["podman", "rm", "--force", name])
                raise
        run(["podman", "start", name])

    def _wait(self, host: Host) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while (state := self._boot_state(host)) not in _SETTLED:
            container = self.container(host.name)
            if podman.containers(self.name).get(container) != "running":
                words = run(["podman", "logs", "--tail", "3", container]).split()
                raise LabError(f"its container stopped while it booted; its last words: {' '.join(words) or 'none'}")
            if time.monotonic() > deadline:
                hint = f"see `{self._command} exec {host.name} -- journalctl -b`"
                raise LabError(f"did not boot within {BOOT_SECONDS:g} s, last state: {state}; {hint}")
            time.sleep(0.2)
        if state == "degraded":
            failed = run(self.ssh.command(host.name, "systemctl", "--failed", "--plain", "--no-legend")).splitlines()
            self._say(f"{host.name}: degraded, failed units: {', '.join(line.split()[0] for line in failed)}")
        else:
            self._say(f"{host.name}: running")

    def _boot_state(self, host: Host) -> str:
        # Through sshd, not podman exec: this is the way Ansible will take.
        command = self.ssh.command(host.name, "systemctl", "is-system-running", "--wait")
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "starting"
        return done.stdout.decode().strip() or done.stderr.decode().strip()

    def _each(self, hosts: list[Host], action: Callable[[Host], None]) -> None:
        if not hosts:
            return
        with ThreadPoolExecutor(len(hosts)) as pool:
            futures = {host.name: pool.submit(action, host) for host in hosts}
        failed = {name: error for name, future in futures.items() if (error := future.exception())}
        for error in failed.values():
            if not isinstance(error, LabError):
                raise error
        if failed:
            raise LabError("; ".join(f"host {name}: {error}" for name, error in failed.items()))
