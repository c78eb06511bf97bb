# SPDX-License-Identifier: GPL-3.0-or-later
"""Many Push subscribers in one process, as light as they can be: they note when an event comes, and little else.

Prints one JSON line when all are subscribed, and one for each event: when it came to whom, on the system's monotonic
clock, which the process that changes the zone reads, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import dns.name
import dns.rdatatype
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.push_introduction import introduction

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 24  # handshakes
CONNECT_S, EVENT_S = 120.0, 20.0
HEADER = bytes.fromhex("3000 0000 0000 0000 0000 0041")  # of a PUSH, after its message ID


class Crowd:
    """The subscribers."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._where = (arguments.address, arguments.port)
        self._name = arguments.server_name
        self._context = ssl.create_default_context(cafile=arguments.ca)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.set_alpn_protocols(["dot"])
        question = push.Question(dns.name.from_text(arguments.name), dns.rdatatype.from_text(arguments.type))
        first = dso.encode([dso.keepalive(dso.Keepalive(30_000, 3_600_000))], number=1)
        second = dso.encode([push.subscribe(question)], number=2)
        self._key = dns.tsig.Key(arguments.key_name, Path(arguments.secret).read_text(), "hmac-sha256")
        self._hello = b"".join(len(wire).to_bytes(2, "big") + wire for wire in (first, second))
        self._poll = select.epoll()
        self._sockets: dict[int, ssl.SSLSocket] = {}
        self._rest: dict[int, bytes] = {}
        self.lost = 0

    def subscribe(self, count: int) -> None:
        """Open so many sessions, and wait until all are subscribed."""
        begun: set[int] = set()
        subscribed: set[int] = set()
        end = time.monotonic() + CONNECT_S
        while len(subscribed) < count:
            if time.monotonic() > end:
                raise SystemExit(f"{len(subscribed)} of {count} are subscribed after {CONNECT_S:g} s")
            while len(begun) < AT_ONCE and len(self._sockets) < count:
                number = self._connect()
                if not self._handshake(number):
                    begun.add(number)
            for number, _ in self._poll.poll(1):
                if number in begun:
                    if self._handshake(number):
                        begun.discard(number)
                elif self._responses(number):
                    subscribed.add(number)

    def _connect(self) -> int:
        plain = socket.create_connection(self._where)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        sock = self._context.wrap_socket(plain, server_hostname=self._name, do_handshake_on_connect=False)
        number = sock.fileno()
        self._sockets[number] = sock
        self._rest[number] = b""
        self._poll.register(number, select.EPOLLIN)
        return number

    def _handshake(self, number: int) -> bool:
        """Go on with the handshake; subscribe when it is done, and return whether it is."""
        try:
            self._sockets[number].do_handshake()
        except ssl.SSLWantReadError:
            return False
        # Who we are, as the watcher tells; each session anew. The answers are not waited for one by one.
        self._sockets[number].send(introduction(self._name, self._key).to_wire(prepend_length=True) + self._hello)
        return True

    def _responses(self, number: int) -> bool:
        """Read, and return whether the subscription is confirmed now."""
        for wire in self._messages(number):
            if wire[2] >> 3 & 0xF != dso.OPCODE:
                if wire[3] & 0xF:
                    raise SystemExit(f"the key is refused with RCODE {wire[3] & 0xF}")
                continue
            message = dso.parse(wire)
            if message.id == 2:
                if message.rcode:
                    raise SystemExit(f"refused with RCODE {message.rcode}")
                return True
        return False

    def _messages(self, number: int) -> list[bytes]:
        found = []
        sock = self._sockets[number]
        try:
            data = sock.recv(16384)
        except ssl.SSLWantReadError:
            return []
        except OSError:
            data = b""
        if not data:
            self.lost += 1
            self._poll.unregister(number)
            sock.close()
            return []
        data = self._rest[number] + data
        begin = 0
        while len(data) - begin >= 2 and len(data) - begin - 2 >= (size := data[begin] << 8 | data[begin + 1]):
            found.append(data[begin + 2 : begin + 2 + size])
            begin += 2 + size
        self._rest[number] = data[begin:]
        return found

    def event(self) -> list[float]:
        """Wait until every subscriber has got one PUSH more; return when each of them had it."""
        missing = set(self._sockets)
        times: list[float] = []
        end = 0.0
        while missing and (not end or time.monotonic() < end):
            for number, _ in self._poll.poll(1 if end else -1):
                if any(wire[2:14] == HEADER for wire in self._messages(number)) and number in missing:
                    missing.discard(number)
                    times.append(time.monotonic())
                    end = end or times[0] + EVENT_S
        return times


class Subscribers(Protocol):
    """What `run` runs: made of the arguments; `lost` counts those whose connection has ended."""

    lost: int

    def subscribe(self, count: int) -> None:
        """Begin, and wait until so many are subscribed."""

    def event(self) -> list[float]:
        """Wait for an event; return when each of them had it."""


def run(make: Callable[[argparse.Namespace], Subscribers]) -> None:
    """Subscribe as the command line says, and print what comes."""
    parser = argparse.ArgumentParser()
    for name in ("--address", "--server-name", "--ca", "--key-name", "--secret", "--name", "--type"):
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = make(arguments)
    crowd.subscribe(arguments.count)
    print(json.dumps({"subscribed": arguments.count}), flush=True)
    while True:
        print(json.dumps({"times": crowd.event(), "lost": crowd.lost}), flush=True)


if __name__ == "__main__":
    run(Crowd)
