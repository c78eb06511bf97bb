# SPDX-License-Identifier: GPL-3.0-or-later
"""The command btmm-relay, run by systemd on a zone host."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

from ansible_collections.btmm.fleet.plugins.module_utils import names, sd_notify
from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import PROTOCOL
from ansible_collections.btmm.fleet.plugins.module_utils.tls import server_context

from .errors import RelayError
from .limits import Limits
from .server import Relay

_TELL_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM and return the exit status."""
    parser = argparse.ArgumentParser(prog="btmm-relay", description="Bring hosts of the zone together.")
    parser.add_argument("--zone", required=True, help="the owner's zone")
    parser.add_argument("--port", type=int, default=4501, help="TCP; UDP of this number and the next (%(default)s)")
    parser.add_argument("--ports", type=_range, default="40000-40999", metavar="A-B", help="UDP, two for each flow")
    parser.add_argument("--credentials", type=Path, required=True, help="folder of cert, key, ca and crl.pem")
    parser.add_argument("--hosts", type=int, default=Limits.hosts, help="most hosts at the same time (%(default)s)")
    parser.add_argument("--flows", type=int, default=Limits.flows_per_host, help="most of one host (%(default)s)")
    parser.add_argument("--bytes", type=int, default=Limits.bytes_per_s, help="per second and flow, 0 for no limit")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        asyncio.run(_async_main(given))
    except (RelayError, OSError, ValueError) as error:
        print(f"{socket.gethostname()}: the relay does not start: {error}", file=sys.stderr)
        return 1
    return 0


async def _async_main(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    zone = names.parse_zone(given.zone).to_text(omit_final_dot=True).lower()
    folder = given.credentials
    certificate, key, authority, revoked = (folder / f"{name}.pem" for name in ("cert", "key", "ca", "crl"))
    context = server_context(certificate, key, authority, [PROTOCOL], revoked=revoked)
    relay = Relay(zone, given.port, given.ports, Limits(given.hosts, given.flows, given.bytes))
    watchdog = asyncio.create_task(sd_notify.async_watchdog())
    try:
        await relay.async_start(context)
        sd_notify.send("READY=1")
        while not stop.is_set():
            sd_notify.send(f"STATUS={relay.summary}")
            try:
                async with asyncio.timeout(_TELL_S):
                    await stop.wait()
            except TimeoutError:
                continue
        sd_notify.send("STOPPING=1")
    finally:
        watchdog.cancel()
        await relay.async_stop()


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    ports = range(int(first), int(last) + 1)
    if not 1024 <= ports.start < ports.stop <= 1 << 16:
        raise ValueError(text)
    return ports
