# SPDX-License-Identifier: GPL-3.0-or-later
"""A real BIND on a high port of loopback, with one empty dynamic zone, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.name import Name

SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ADDRESS = "127.0.0.1"
PATIENCE_S = 10
# As roles/zone sets it up, but for grants per host: one key may write all.
CONFIGURATION = """
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
}};
controls {{ }};
zone "{zone}" {{
  type primary;
  file "zone.db";
  allow-query {{ key "{key}"; }};
  allow-transfer {{ key "{key}"; }};
  update-policy {{ grant "{key}" zonesub ANY; }};
  max-records-per-type 0;
  notify no;
}};
"""
FIRST_CONTENT = """$TTL 3600
@ IN SOA ns hostmaster 1 3600 600 1209600 60
@ IN NS ns
ns IN A 127.0.0.1
"""


@dataclass(frozen=True)
class Named:
    """The running server."""

    zone: Name
    port: int
    key: dns.tsig.Key

    def connect(self) -> Exchange:
        """Open a connection."""
        return Exchange(Server(ADDRESS, self.port, timeout_s=60), self.key)

    def session(self) -> Session:
        """Return a session that opens its connection when it is entered."""
        return Session(self.connect)


@contextlib.contextmanager
def serving(zone: Name) -> Iterator[Named]:
    """Start BIND with an empty zone, and stop it at the end."""
    program = shutil.which("named", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("There is no named here: apt-get install bind9")
    with socket.create_server((ADDRESS, 0)) as free:
        port = free.getsockname()[1]
    key = dns.tsig.Key(f"bench.{zone}", SECRET, "hmac-sha256")
    with tempfile.TemporaryDirectory(prefix="btmm-bench-") as name:
        directory = Path(name)
        (directory / "zone.db").write_text(FIRST_CONTENT)
        (directory / "named.conf").write_text(
            CONFIGURATION.format(
                key=key.name, secret=SECRET, directory=directory, port=port, address=ADDRESS, zone=zone
            )
        )
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "-g", "-c", str(directory / "named.conf")], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _wait(process, port, directory / "log")
            yield Named(zone, port, key)
        finally:
            process.terminate()
            process.wait()


def version() -> str:
    """Return what BIND calls itself."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    program = shutil.which("named", path=path) or "named"
    return " ".join(subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout.split()[:2])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"named does not start:\n{log.read_text()[-2000:]}")
