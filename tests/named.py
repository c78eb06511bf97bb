# SPDX-License-Identifier: GPL-3.0-or-later
"""A real BIND on high ports of loopback, with dynamic zones, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dns.tsig
import dns.update
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dns.name import Name

    from tests.certificates import Certificate

SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ADDRESS = "127.0.0.1"
PATIENCE_S = 10
# As roles/zone sets it up, but for grants per host: one key may write all.
OPTIONS = """
key "{key}" {{ algorithm hmac-sha256; secret "{secret}"; }};
options {{
  directory "{directory}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {address}; }};
  listen-on-v6 {{ none; }};
  recursion no;
  dnssec-validation no;
  minimal-responses yes;
  allow-transfer {{ none; }};
  notify-delay 0;
  notify-rate 1000;
  startup-notify-rate 1000;
  serial-query-rate 1000;
  max-ixfr-ratio unlimited;
{more}
}};
controls {{ {controls} }};
"""
ZONE = """
zone "{zone}" {{
  type primary;
  file "{zone}db";
  allow-query {{ key "{key}"; }};
  allow-transfer {{ key "{key}"; }};
  update-policy {{ grant "{key}" zonesub ANY; }};
  max-records-per-type 0;
  {notify}
}};
"""
TLS = """
tls btmm-dot {{
  cert-file "{tls.certificate}";
  key-file "{tls.key}";
  protocols {{ TLSv1.2; TLSv1.3; }};
}};
"""
FIRST_CONTENT = """$TTL 3600
@ IN SOA ns hostmaster {serial} 3600 600 {expire} 60
@ IN NS ns
ns IN A 127.0.0.1
"""


@dataclass
class Named:
    """The server. It can be stopped and started again; what was written stays.

    `notify` is the port of loopback that is told of changes; `tls` makes it listen on `tls_port`, too.
    """

    zones: Sequence[Name]
    directory: Path
    tls: Certificate | None = None
    notify: int | None = None
    serial: int = 1
    expire: int = 1209600
    port: int = field(default_factory=lambda: free_port())
    tls_port: int = field(default_factory=lambda: free_port())
    control_port: int = field(default_factory=lambda: free_port())
    _process: subprocess.Popen[bytes] | None = None

    @property
    def zone(self) -> Name:
        """The first zone."""
        return self.zones[0]

    @property
    def key(self) -> dns.tsig.Key:
        """The key that may do everything."""
        return dns.tsig.Key(f"all.{self.zone}", SECRET, "hmac-sha256")

    def configure(self) -> None:
        """Write the configuration, and zones where there are none."""
        listen = f"listen-on port {self.tls_port} tls btmm-dot {{ {ADDRESS}; }};" if self.tls else ""
        controls = f'inet {ADDRESS} port {self.control_port} allow {{ {ADDRESS}; }} keys {{ "{self.key.name}"; }};'
        text = OPTIONS.format(
            key=self.key.name,
            secret=SECRET,
            directory=self.directory,
            port=self.port,
            address=ADDRESS,
            more=listen,
            controls=controls,
        )
        notify = f'notify explicit; also-notify {{ {ADDRESS} port {self.notify} key "{self.key.name}"; }};'
        for zone in self.zones:
            text += ZONE.format(zone=zone, key=self.key.name, notify=notify if self.notify else "notify no;")
            file = self.directory / f"{zone}db"
            if not file.exists():
                file.write_text(FIRST_CONTENT.format(serial=self.serial, expire=self.expire))
        (self.directory / "named.conf").write_text(text + (TLS.format(tls=self.tls) if self.tls else ""))

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = shutil.which("named", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise SystemExit("There is no named here: apt-get install bind9")
        log = self.directory / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-g", "-c", str(self.directory / "named.conf")], stdout=output, stderr=subprocess.STDOUT
            )
        end = time.monotonic() + PATIENCE_S
        while self._process.poll() is None and time.monotonic() < end:
            if "all zones loaded" in log.read_text():
                return
            time.sleep(0.05)
        raise SystemExit(f"named does not start:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop, and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def rndc(self, *arguments: str) -> str:
        """Give it a command."""
        key = self.directory / "rndc.key"
        key.write_text(f'key "{self.key.name}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n')
        program = shutil.which("rndc", path=f"{os.environ['PATH']}:/usr/sbin") or "rndc"
        return subprocess.run(
            [program, "-k", str(key), "-s", ADDRESS, "-p", str(self.control_port), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def connect(self) -> Exchange:
        """Open a connection."""
        return Exchange(Server(ADDRESS, self.port, timeout_s=60), self.key)

    def session(self) -> Session:
        """Return a session that opens its connection when it is entered."""
        return Session(self.connect)

    def update(self, message: dns.update.UpdateMessage) -> None:
        """Send one update."""
        with self.connect() as exchange:
            exchange.send(message)


@contextlib.contextmanager
def serving(
    *zones: Name,
    tls: Certificate | None = None,
    notify: int | None = None,
    serial: int = 1,
    expire: int = 1209600,
) -> Iterator[Named]:
    """Start BIND with empty zones, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="btmm-named-") as name:
        named = Named(zones, Path(name), tls, notify, serial, expire)
        named.configure()
        try:
            named.start()
            yield named
        finally:
            named.stop()


def free_port() -> int:
    """Return a port of loopback that nobody has now, neither for TCP nor for UDP.

    Below those that the kernel gives to connections (ip_local_port_range), of which one could take it in between.
    """
    while True:
        port = random.randrange(15_000, 32_000)  # noqa: S311 - no secret
        with (
            contextlib.suppress(OSError),
            socket.create_server((ADDRESS, port)),
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        ):
            datagrams.bind((ADDRESS, port))
            return port


def version() -> str:
    """Return what BIND calls itself."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    program = shutil.which("named", path=path) or "named"
    return " ".join(subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout.split()[:2])
