# SPDX-License-Identifier: GPL-3.0-or-later
"""Many LLQ subscribers in one process, each with a UDP socket and TSIG; what they print is that of push_clients."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dns.name
import dns.rdatatype
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils import llq, push, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Llq, Opcode

from tests.bench.push_clients import CONNECT_S, EVENT_S, run

if TYPE_CHECKING:
    import argparse

AT_ONCE = 64  # setups without an answer
AGAIN_S = 2.0


class Crowd:
    """The subscribers."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._where = (arguments.address, arguments.port)
        self._question = push.Question(dns.name.from_text(arguments.name), dns.rdatatype.from_text(arguments.type))
        self._key = dns.tsig.Key(arguments.key_name, Path(arguments.secret).read_text(), "hmac-sha256")
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._waiting: dict[int, tuple[float, Llq]] = {}  # since when, and what was said last
        self.lost = 0

    def subscribe(self, count: int) -> None:
        """Set up so many LLQs, and wait until all are granted."""
        end = time.monotonic() + CONNECT_S
        while self._waiting or len(self._sockets) < count:
            now = time.monotonic()
            if now > end:
                raise SystemExit(f"{len(self._sockets) - len(self._waiting)} of {count} are granted")
            while len(self._waiting) < AT_ONCE and len(self._sockets) < count:
                sock = socket.socket(type=socket.SOCK_DGRAM)
                sock.connect(self._where)
                sock.setblocking(False)
                self._sockets[sock.fileno()] = sock
                self._poll.register(sock.fileno(), select.EPOLLIN)
                self._say(sock.fileno(), Llq(Opcode.SETUP, lease=llq.MOST_LEASE_S))
            for number, _ in self._poll.poll(0.1):
                self._answered(number)
            for number, (since, said) in tuple(self._waiting.items()):
                if now - since > AGAIN_S:
                    self._say(number, said)

    def event(self) -> list[float]:
        """Wait until every subscriber has got one event more, and acknowledge all; return when each of them had it."""
        missing = set(self._sockets)
        times: list[float] = []
        end = 0.0
        while missing and (not end or time.monotonic() < end):
            for number, _ in self._poll.poll(1 if end else -1):
                wire = self._sockets[number].recv(4096)
                at = time.monotonic()
                # Header, question and option are all that an acknowledgment takes from it, and it need not be signed.
                message = llq.parse(wire)
                (option,) = message.llqs
                if option is None or option.opcode != Opcode.EVENT:
                    continue
                self._sockets[number].send(llq.acknowledgment(message, option))
                if number in missing:
                    missing.discard(number)
                    times.append(at)
                    end = end or at + EVENT_S
        return times

    def _say(self, number: int, option: Llq) -> None:
        wire, _ = llq.encode(number & 0xFFFF or 1, [self._question], [option])
        self._sockets[number].send(tsig.sign(wire, self._key)[0])
        self._waiting[number] = (time.monotonic(), option)

    def _answered(self, number: int) -> None:
        message = llq.parse(self._sockets[number].recv(4096))
        option = message.llqs[0] if message.llqs else None
        if option is None or option.error:
            raise SystemExit(f"refused: {message}")
        if self._waiting.get(number, (0.0, None))[1] == Llq(Opcode.SETUP, lease=llq.MOST_LEASE_S):
            self._say(number, option)
        else:
            self._waiting.pop(number, None)


if __name__ == "__main__":
    run(Crowd)
