# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic between two hosts, watched from outside: when a reply came, and whether a TCP connection lived."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.fleet import ROOT, Fleet

INTERVAL_S = 0.01  # between two pings: how exactly an outage is known
PORT = 7777
PATIENCE_S = 180  # after a long outage TCP tries again rarely, up to every 120 s (RFC 6298 section 5.5)
# On a host: counts what comes on each connection, and says so at its end.
_RECEIVE = """
import os, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
print(os.getpid(), flush=True)
while True:
    connection, count = listener.accept()[0], 0
    try:
        while data := connection.recv(4096):
            count += len(data)
        connection.sendall(str(count).encode())
    except OSError:
        pass
    connection.close()
"""
# On a host: sends an octet five times a second on one connection until its input ends; tells how often it had to
# connect again, and whether all octets of the last connection came.
_SEND = """
import json, os, select, socket, sys
def connect():
    return socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
stream, sent, broken = connect(), 0, 0
print(os.getpid(), flush=True)
while not select.select([sys.stdin], [], [], 0.2)[0]:
    try:
        stream.sendall(b"x")
        sent += 1
    except OSError:
        broken += 1
        stream, sent = connect(), 0
try:
    stream.shutdown(socket.SHUT_WR)
    complete = int(stream.recv(64) or -1) == sent
except OSError:
    complete = False
print(json.dumps({"broken": broken + (not complete), "sent": sent}), flush=True)
"""


class Pings:
    """Replies to a ping that goes on all the time, by the time of day at which they came."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._last = 0.0
        self._first_after: tuple[float, float] | None = None
        self._mark = 0.0
        self._come = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def mark(self, when: float) -> None:
        """From now on the first reply after this time of day is looked for."""
        with self._come:
            self._mark, self._first_after = when, None

    def after_mark(self, patience_s: float) -> float | None:
        """Seconds from the mark to the first reply after it; None when none came in time."""
        with self._come:
            self._come.wait_for(lambda: self._first_after is not None, patience_s)
            return self._first_after[0] - self._mark if self._first_after else None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.match(r"\[(\d+\.\d+)\] \d+ bytes from ", line):
                with self._come:
                    came = float(found[1])
                    if self._first_after is None and came > self._mark:
                        self._first_after = came, self._mark
                        self._come.notify_all()


@contextmanager
def pings(fleet: Fleet, source: str, address: str) -> Iterator[Pings]:
    """Ping an address from a host while the block runs."""
    command = _inside(fleet, source, "ping", "-n", "-D", "-i", str(INTERVAL_S), "-W", "1", address)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=fleet.environment
    ) as process:
        try:
            yield Pings(process)
        finally:
            fleet.shell(source, f"pkill --full '^ping -n -D.* {re.escape(address)}$' || true")
            process.wait(10)


class Stream:
    """A TCP connection that is used all the time."""

    def __init__(self, fleet: Fleet, source: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._fleet, self._source, self._process = fleet, source, process
        self._pid = process.stdout.readline().strip()
        self.broken = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Send nothing while the block runs: each packet would open a tunnel."""
        self._fleet.on(self._source, "kill", "-STOP", self._pid)
        try:
            yield
        finally:
            self._fleet.on(self._source, "kill", "-CONT", self._pid)

    def end(self) -> None:
        """End it; afterwards `broken` is how often it broke."""
        told, _ = self._process.communicate("\n", timeout=PATIENCE_S + 10)
        self.broken = int(json.loads(told.splitlines()[-1])["broken"])


@contextmanager
def stream(fleet: Fleet, source: str, target: str, address: str) -> Iterator[Stream]:
    """Have a TCP connection from a host to another one, where it only receives, while the block runs."""
    receive = _inside(fleet, target, "python3", "-c", _RECEIVE, address, str(PORT))
    send = _inside(fleet, source, "python3", "-c", _SEND, address, str(PORT), str(PATIENCE_S))
    with subprocess.Popen(receive, stdout=subprocess.PIPE, text=True, env=fleet.environment) as receiver:
        assert receiver.stdout is not None
        pid = receiver.stdout.readline().strip()
        try:
            with subprocess.Popen(
                send, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=fleet.environment
            ) as sender:
                held = Stream(fleet, source, sender)
                try:
                    yield held
                    held.end()
                finally:
                    sender.kill()
        finally:
            # podman leaves the program alive when its own client ends.
            fleet.on(target, "kill", pid)


def _inside(fleet: Fleet, host: str, *words: str) -> list[str]:
    return [str(ROOT / "lab" / "lab"), "--fleet", fleet.name, "exec", host, "--", *words]
