# SPDX-License-Identifier: GPL-3.0-or-later
"""Floods of datagrams: few of them are looked at, and who has LLQs does not notice."""

from __future__ import annotations

import socket
import time

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import llq
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Error, Llq, Opcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

from notifier.config import Limits
from notifier.llq_rates import STRANGERS, Rates
from notifier.llq_table import Table
from tests.named import ADDRESS
from tests.notifier import ZONE, Notifier, notifying, wait_for
from tests.unit.notifier.test_llq_server import Client, key, option
from tests.unit.notifier.test_llq_table import IMAC, Somewhere, granted
from tests.unit.notifier.test_push_server import update

TXT = 16
BURST, PER_S = 20, 10
FLOOD = 3_000


class Stranger(Somewhere):
    def __init__(self, address: str, port: int = 5353) -> None:
        super().__init__(port)
        self.address = address
        self.where = (address, port)


def admitted(rates: Rates, peer: Somewhere, count: int) -> int:
    return sum(rates.admits(peer) for _ in range(count))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test sets it."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_networks_without_end_take_no_more_memory(now: list[float]) -> None:
    rates = Rates(Table(Limits()), Limits())
    before = list(map(id, rates._strangers))
    for number in range(100_000):
        rates.admits(Stranger(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"))
    assert list(map(id, rates._strangers)) == before
    assert len(before) == STRANGERS


def test_a_network_has_one_measure_which_fills_again(now: list[float]) -> None:
    rates = Rates(Table(Limits()), Limits(llq_burst=BURST, llq_per_s=PER_S))
    assert admitted(rates, Stranger("2001:db8::1"), 100) == BURST
    assert admitted(rates, Stranger("2001:db8::ffff:2", 4711), 100) == 0
    assert rates.dropped == 200 - BURST
    now[0] += 0.5  # a flood costs nobody what comes after it
    assert admitted(rates, Stranger("2001:db8::1"), 100) == PER_S // 2
    assert admitted(rates, Stranger("fe80::1%eth0"), 1) == 1


def test_who_has_an_llq_has_a_measure_of_his_own(now: list[float]) -> None:
    table = Table(Limits())
    rates = Rates(table, Limits(llq_burst=BURST, llq_verified_per_s=0))
    host = Somewhere(1)
    llq_ = granted(table, 1, host, IMAC)
    assert admitted(rates, Somewhere(2), 100) == BURST  # the same address
    assert admitted(rates, host, 1_000) == 1_000
    assert rates.verifies(host)
    assert not rates.verifies(Somewhere(2))
    table.drop(llq_)
    assert admitted(rates, host, 1) == 0


def at(notifier: Notifier, address: str, secret: str | None = None) -> Client:
    """Return a client at an address of its own, by UDP."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.connect((ADDRESS, notifier.ports.llq))
    return Client(sock, key(secret=secret) if secret else key())


def test_a_flood_of_wrong_signatures_harms_nobody_else() -> None:
    limits = Limits(llq_burst=BURST, llq_per_s=PER_S)
    question = Question(dns.name.from_text("calm", ZONE), TXT)
    with (
        notifying(limits=limits) as notifier,
        at(notifier, "127.0.0.2", "AAAA") as liar,
        at(notifier, "127.0.0.2") as host,
        at(notifier, "127.0.0.3") as late,
    ):
        told, _ = host.set_up(question)  # before the flood, at the very address that it will come from
        begun = time.monotonic()
        request, _ = liar.message(question, Llq(Opcode.SETUP, lease=7200))
        answers = 0
        for number in range(FLOOD):
            liar.write(request)
            if number % 100 == 99:
                while (wire := liar.read(0.001)) is not None:
                    assert llq.parse(wire).rcode
                    answers += 1
        assert 0 < answers <= BURST + PER_S * (time.monotonic() - begun)
        update(notifier, "add calm 60 TXT a")
        assert host.told() == ['+calm "a"']
        assert option(host.ask(question, Llq(Opcode.REFRESH, told.id, 7200))).error == Error.NO_ERROR
        assert late.set_up(question)[1] == ['+calm "a"']
        wait_for(lambda: notifier.status()["llq"]["dropped"] > FLOOD / 2, "the status tells of it", 15)
