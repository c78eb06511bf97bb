# SPDX-License-Identifier: GPL-3.0-or-later
"""What BIND does alone: NOTIFY (RFC 1996) to many secondaries, each an address of loopback; none of them transfers."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.named import Named, free_port
from tests.notifier import ZONE

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = int(ipaddress.IPv4Address("127.1.0.1"))
RATE = 20_000  # NOTIFY messages a second that BIND may send; the zone role's 1,000 would take 10 s for all
WITHIN_S = 60.0
IP_PKTINFO, SO_RCVBUFFORCE = 8, 33  # Linux; Python 3.11 does not name them
_PKTINFO = struct.Struct("i4s4s")  # in_pktinfo, ip(7)


def measure(count: int, change: Callable[[Named, int], float], times: int) -> list[list[float]]:
    """Return for each change when its NOTIFY came to each secondary, in seconds after the UPDATE was answered."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear, tempfile.TemporaryDirectory() as name:
        ear.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        ear.bind(("0.0.0.0", port))  # noqa: S104 - all of 127/8 is meant
        ear.setblocking(False)
        named = Named([ZONE], Path(name), notify=port)
        named.configure()
        _aim(Path(name) / "named.conf", count, port)
        named.start()
        try:
            _listen(ear, count, 0.0)  # what BIND says when it starts
            found = []
            for number in range(times):
                answered = change(named, number)
                found.append(_listen(ear, count, answered))
        finally:
            named.stop()
    return found


def _aim(configuration: Path, count: int, port: int) -> None:
    """Have all secondaries notified, in place of the one."""
    text = configuration.read_text()
    begin = text.index("also-notify {")
    end = text.index("}", begin)
    targets = " ".join(f"{ipaddress.IPv4Address(FIRST + number)} port {port};" for number in range(count))
    text = f"{text[:begin]}also-notify {{ {targets} {text[end:]}"
    configuration.write_text(text.replace("notify-rate 1000", f"notify-rate {RATE}"))


def _listen(ear: socket.socket, count: int, answered: float) -> list[float]:
    """Answer until every secondary was notified once more."""
    came: dict[bytes, float] = {}
    end = time.monotonic() + WITHIN_S
    while len(came) < count and time.monotonic() < end:
        select.select([ear], [], [], 1)
        try:
            while True:
                wire, ancillary, _, source = ear.recvmsg(4096, 64)
                number, _, target = _PKTINFO.unpack(ancillary[0][2])
                came.setdefault(target, time.monotonic() - answered)
                answer = wire[:2] + bytes((wire[2] | 0x80,)) + wire[3:12]
                header = answer[:4] + bytes(8)  # no sections: the ID and QR are what BIND looks for
                info = _PKTINFO.pack(number, target, bytes(4))
                ear.sendmsg([header], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, source)
        except BlockingIOError:
            pass
    return list(came.values())
