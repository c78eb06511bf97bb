# SPDX-License-Identifier: GPL-3.0-or-later
"""The real notifier as a process beside a real BIND, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.name
from ansible_collections.btmm.fleet.plugins.module_utils import bind, names

from notifier.config import Limits, Ports
from tests.certificates import Owner
from tests.named import ADDRESS, SECRET, Named, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.certificates import Certificate

ROOT = Path(__file__).parents[1]
ZONE = dns.name.from_text("bob.members.example.")
REVERSE = dns.name.from_text("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.")
SERVER_NAME = "zone.bob.members.example"


@dataclass(frozen=True)
class Notifier:
    """What runs: the primary, and the notifier that keeps its zones; `owner` issues more certificates."""

    named: Named
    owner: Owner
    ports: Ports
    directory: Path
    process: subprocess.Popen[bytes]

    def host(self, label: str = "imac") -> Certificate:
        """Return a new certificate of a host."""
        return self.owner.host(label)

    def status(self) -> dict[str, Any]:
        """Return what the daemon tells."""
        status: dict[str, Any] = json.loads((self.directory / "run" / "status.json").read_text())
        return status

    @property
    def resident_kb(self) -> int:
        """Memory of the process, RSS, in kB of 1000 octets."""
        return _status_field(self.process.pid, "VmRSS") * 1024 // 1000

    @property
    def cpu_s(self) -> float:
        """Processor time that the process took so far, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """Return what it has logged."""
        return (self.directory / "log").read_text()


def _status_field(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def notifying(
    hosts: Sequence[str] = ("imac",),
    limits: Limits | None = None,
    prefix: Sequence[str] = (),
    *,
    notified: bool = True,
) -> Iterator[Notifier]:
    """Start BIND and the notifier, and stop both at the end.

    Args:
        hosts: labels that have a key, and so may ask.
        limits: other than the daemon's own.
        prefix: a command in front of the notifier's, such as `taskset`.
        notified: whether BIND sends NOTIFY.
    """
    with tempfile.TemporaryDirectory(prefix="btmm-notifier-") as name:
        directory = Path(name)
        owner = Owner(directory)
        server = owner.server()
        ports = Ports(notify=free_port(), push=free_port(), llq=free_port(), llq_tls=free_port())
        with serving(ZONE, REVERSE, tls=server, notify=ports.notify if notified else None) as named:
            _configure(directory, named, server, ports, limits or Limits(), hosts)
            etc, run, log = (directory / name for name in ("etc", "run", "log"))
            path = {"PYTHONPATH": f"{ROOT / '.collections'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
            command = [sys.executable, "-m", "notifier", "--config", str(etc), "--run", str(run)]
            common: dict[str, Any] = {"env": {**os.environ, **path}, "cwd": ROOT}
            with log.open("wb") as output:
                process = subprocess.Popen([*prefix, *command, "serve"], stdout=output, stderr=output, **common)
            try:
                waiting = subprocess.run([*command, "wait"], capture_output=True, text=True, check=False, **common)
                if waiting.returncode:
                    raise SystemExit(f"the notifier does not start: {waiting.stderr}{log.read_text()}")
                yield Notifier(named, owner, ports, directory, process)
            finally:
                process.terminate()
                process.wait()


def _configure(
    directory: Path, named: Named, server: Certificate, ports: Ports, limits: Limits, hosts: Sequence[str]
) -> None:
    credentials, etc = directory / "credentials", directory / "etc"
    for each in (credentials, etc, directory / "run"):
        each.mkdir()
    for target, source in (
        ("cert.pem", server.certificate),
        ("key.pem", server.key),
        ("ca.pem", server.ca),
        ("crl.pem", server.crl),
    ):
        (credentials / target).symlink_to(source)
    keys = [named.key.name, *(names.tsig_key_name(label, ZONE) for label in hosts)]
    (credentials / "keys.conf").write_text("".join(bind.key_conf(key, SECRET) for key in keys))
    (etc / "daemon.json").write_text(
        json.dumps(
            {
                "notify_addresses": [ADDRESS],
                "addresses": [ADDRESS],
                "ports": asdict(ports),
                "limits": asdict(limits),
            }
        )
    )
    (etc / "zone.json").write_text(
        json.dumps(
            {
                "zone": ZONE.to_text(omit_final_dot=True),
                "reverse_zone": REVERSE.to_text(omit_final_dot=True),
                "server_name": SERVER_NAME,
                "credentials": str(credentials),
                "label": "all",
                "primary": {"name": SERVER_NAME, "addresses": [ADDRESS], "port": named.tls_port},
                "notify_from": [ADDRESS],
            }
        )
    )


def wait_for(condition: Any, what: str, within_s: float = 10.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)
