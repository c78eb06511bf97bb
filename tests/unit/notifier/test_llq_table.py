# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has how many long-lived queries, and until when."""

from __future__ import annotations

import time

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

from notifier.access import Client
from notifier.config import Limits
from notifier.llq_table import Llq, Table
from tests.notifier import ZONE

IMAC, MINI = Client(ZONE, b"imac"), Client(ZONE, b"mini")


class Somewhere:
    """A client's end of UDP, or of a connection."""

    client: Client | None = None
    secret = False

    def __init__(self, port: int, *, reliable: bool = False) -> None:
        self.address = "192.0.2.1"
        self.where = (self.address, port)
        self.reliable = reliable

    def introduced(self, client: Client) -> bool:
        return True

    def tell(self, wire: bytes) -> None:
        raise AssertionError("nothing is to be told")


def question(label: str) -> Question:
    return Question(dns.name.from_text(label, ZONE), 16)


def granted(table: Table, number: int, peer: Somewhere, client: Client | None, label: str = "a") -> Llq:
    llq = Llq(number, peer, client, None, 1200)
    llq.expires = 1000.0 + number
    table.add(llq, question(label))
    return llq


def ids(table: Table) -> list[int]:
    return sorted(llq.id for llq in table)


@pytest.mark.parametrize("limits", [Limits(llqs_per_client=3), Limits(llqs=3)])
def test_what_a_host_left_behind_gives_way_to_it(limits: Limits) -> None:
    table = Table(limits)
    for number in (3, 1, 2):
        granted(table, number, Somewhere(number), IMAC)
    moved = Somewhere(4)
    assert table.full(moved, IMAC, question("b"))  # nothing that is this question, asked from elsewhere
    assert not table.full(moved, IMAC, question("A"))
    assert ids(table) == [1, 2, 3]  # a challenge is no grant
    granted(table, 4, moved, IMAC)
    assert ids(table) == [2, 3, 4]


def test_nothing_else_gives_way() -> None:
    table = Table(Limits(llqs=3))
    granted(table, 1, Somewhere(1), MINI)
    granted(table, 2, Somewhere(2), None)
    granted(table, 3, Somewhere(3, reliable=True), IMAC)  # its connection is there
    for client in (IMAC, None):
        assert table.full(Somewhere(4), client, question("a"))


def test_a_lease_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(Limits())
    for number in (1, 2):
        granted(table, number, Somewhere(1), IMAC).queue.append(b"waits")
    for now, left in ((1000.9, [1, 2]), (1001.1, [2]), (1002.1, [])):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        table.expire()
        assert ids(table) == left
    assert not table.of(Somewhere(1))
    assert list(table.topics) == []
    assert not table.full(Somewhere(1), IMAC, question("a"))
