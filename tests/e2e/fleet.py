# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal fleet as the proof and the end-to-end tests see it: run a command there, run a playbook on it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)


class CommandFailed(AssertionError):
    """A command of the rehearsal failed; the message holds its whole output."""


@dataclass(frozen=True)
class Recap:
    """Ansible's closing counts of one host."""

    changed: int
    failed: int
    unreachable: int


@dataclass(frozen=True)
class Run:
    """One finished run of a playbook."""

    code: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, Recap]:
        """Closing counts by host."""
        return {
            found["host"]: Recap(int(found["changed"]), int(found["failed"]), int(found["unreachable"]))
            for found in RECAP.finditer(self.output)
        }


@dataclass
class Fleet:
    """One fleet by its name; several may be up side by side."""

    name: str = field(default_factory=lambda: os.environ.get("BTMM_FLEET", "demo"))
    inventory: str = "inventories/lab"
    variables: Mapping[str, str] = field(default_factory=dict)  # more of the environment, as BTMM_TOPOLOGY

    @property
    def folder(self) -> Path:
        """Where the lab keeps the fleet's keys."""
        return ROOT / "build" / "lab" / self.name

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which the lab and Ansible mean this fleet."""
        own = {"BTMM_FLEET": self.name, "BTMM_LAB_DIR": str(self.folder.parent)}
        return {**os.environ, **own, **self.variables}

    def lab(self, *arguments: str, timeout: float = 60) -> str:
        """Run one command of the lab."""
        return self._run([str(ROOT / "lab" / "lab"), *arguments], timeout=timeout)

    def on(self, host: str, *command: str, timeout: float = 60) -> str:
        """Run a command on a host and return its output; CommandFailed when it fails."""
        return self._run([str(ROOT / "lab" / "lab"), "exec", host, "--", *command], timeout=timeout)

    def shell(self, host: str, script: str, timeout: float = 60) -> str:
        """Run a shell script on a host and return its output."""
        return self.on(host, "bash", "-euo", "pipefail", "-c", script, timeout=timeout)

    def owner(self, script: str, timeout: float = 300) -> str:
        """Run a shell script on the controller, which knows the inventory as INVENTORY, and return its output."""
        return self._run(["bash", "-euo", "pipefail", "-c", f"INVENTORY={self.inventory}\n{script}"], timeout=timeout)

    def segment(self, host: str) -> str:
        """Return where a host is plugged in."""
        hosts = json.loads(self.lab("status", "--json"))
        found: str = next(each["segments"]["eth0"] for each in hosts if each["host"] == host)
        return found

    def playbook(self, *arguments: str, variables: Mapping[str, object] | None = None) -> Run:
        """Run ansible-playbook on the fleet; a failed run is returned, not raised."""
        command = ["ansible-playbook", "-i", self.inventory, *arguments]
        if variables:
            command += ["--extra-vars", json.dumps(variables)]
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True, capture_output=True, check=False, timeout=900
        )
        return Run(done.returncode, done.stdout + done.stderr, time.monotonic() - started)

    def lend_key(self, host: str) -> None:
        """Put the rehearsal's user key on a host for a moment, as /run/rehearsal-key."""
        self.send(host, self.folder / "id_ed25519", "/run/rehearsal-key")

    def send(self, host: str, source: Path, target: str) -> None:
        """Copy a text file to a host, where root alone may read it."""
        command = [str(ROOT / "lab" / "lab"), "ssh", host, f"umask 077; cat > {target}"]
        text = source.read_text(encoding="utf-8")
        subprocess.run(command, env=self.environment, input=text, text=True, check=True, timeout=30)

    @contextmanager
    def started(self, host: str, *command: str) -> Iterator[Callable[[], str]]:
        """Run a command on a host beside the block; calling what is yielded waits for its output."""
        whole = [str(ROOT / "lab" / "lab"), "exec", host, "--", *command]
        with subprocess.Popen(
            whole, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield lambda: process.communicate(timeout=30)[0].strip()
            finally:
                process.kill()

    @contextmanager
    def capture(self, segment: str, path: Path) -> Iterator[None]:
        """Record everything that crosses a segment while the block runs."""
        command = [
            "ip",
            "netns",
            "exec",
            f"btmm-{self.name}",
            "tcpdump",
            "--immediate-mode",  # else up to a second of packets is lost at the end
            "--buffer-size=32768",  # KiB, of which a packet takes 64 in this mode; else it has 2048
            "-U",
            "-n",
            "-i",
            f"br-{segment}",
            "-w",
            str(path),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
            assert tcpdump.stderr is not None
            for line in tcpdump.stderr:  # it says so once it listens
                if "listening on" in line:
                    break
            try:
                yield
                _settle(tcpdump)
            finally:
                tcpdump.terminate()

    def _run(self, command: list[str], timeout: float = 60) -> str:
        done = subprocess.run(
            command, env=self.environment, text=True, capture_output=True, check=False, timeout=timeout
        )
        if done.returncode:
            raise CommandFailed(f"{' '.join(command)} gave {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def seconds_until(
    holds: Callable[[], object], patience_s: float, what: str, told: Callable[[], str] = lambda: ""
) -> float:
    """Wait for what a fleet does by itself, and return how long it took.

    AssertionError with `what`, and what is `told` then, when it does not hold in time.
    """
    begin = time.monotonic()
    while not holds():
        assert time.monotonic() - begin < patience_s, f"not within {patience_s:g} s: {what}\n{told()}".strip()
        time.sleep(0.2)
    return time.monotonic() - begin


def _settle(tcpdump: subprocess.Popen[str]) -> None:
    """Wait until no more packets come, and all that came are written: on a busy machine they wait in the kernel."""
    assert tcpdump.stderr is not None
    before, deadline = -1, time.monotonic() + 10
    while time.monotonic() < deadline:
        tcpdump.send_signal(signal.SIGUSR1)
        told = re.search(r"(\d+) packets? captured, (\d+) .* by filter, (\d+) .* dropped", tcpdump.stderr.readline())
        assert told, "tcpdump does not tell how far it is"
        written, seen, lost = (int(number) for number in told.groups())
        if before == seen <= written + lost:
            return
        before = seen
        time.sleep(0.5)
