# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import dns.rdatatype
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server, Unreachable, Untrusted
from ansible_collections.btmm.fleet.plugins.module_utils.session import Session
from ansible_collections.btmm.fleet.plugins.module_utils.update import (
    BadKey,
    NotAuthoritative,
    ServerFailed,
    UpdateError,
    UpdateRefused,
)

from tests.unit.primary import SECRET, Primary, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def primary() -> Iterator[Primary]:
    with serving(Primary(ZONE, ["imac 120 AAAA fd12:3456:789a::1"], KEY)) as started:
        yield started


def connect(primary: Primary) -> Exchange:
    return Exchange(Server("127.0.0.1", primary.port, timeout_s=2), KEY)


class Failing:
    """Raises what it is given, in order, then answers."""

    def __init__(self, *errors: UpdateError) -> None:
        self.errors = list(errors)
        self.exchanges: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> str:
        self.exchanges.append(exchange)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_what_a_repeat_may_mend_is_repeated_after_growing_waits(primary: Primary, waits: list[float]) -> None:
    question = Failing(ServerFailed("busy"), ServerFailed("busy"), ServerFailed("busy"))
    with Session(lambda: connect(primary)) as asking:
        assert asking.ask(question) == "answer"
    assert len(set(map(id, question.exchanges))) == 1
    for wait, middle in zip(waits, (0.25, 0.75, 2.25), strict=True):
        assert 0.5 * middle <= wait <= 1.5 * middle


def test_waits_differ_from_host_to_host(primary: Primary, waits: list[float]) -> None:
    with Session(lambda: connect(primary), retries=1) as asking:
        for _ in range(5):
            asking.ask(Failing(ServerFailed("busy")))
    assert len(set(waits)) > 1


def test_a_broken_connection_is_made_anew(primary: Primary, waits: list[float]) -> None:
    question = Failing(Unreachable("silent"))
    with Session(lambda: connect(primary)) as asking:
        asking.ask(question)
        first, second = question.exchanges
        assert first is not second
        assert asking.ask(lambda exchange: len(exchange.lookup(names.host_name("imac", ZONE), dns.rdatatype.AAAA))) == 1


@pytest.mark.parametrize(
    "error",
    [UpdateRefused("no"), NotAuthoritative("no"), BadKey("no"), Untrusted("no")],
    ids=lambda e: type(e).__name__,
)
def test_what_no_repeat_mends_is_raised_at_once(primary: Primary, waits: list[float], error: UpdateError) -> None:
    with Session(lambda: connect(primary)) as asking, pytest.raises(type(error)):
        asking.ask(Failing(error))
    assert waits == []


def test_retries_come_to_an_end(primary: Primary, waits: list[float]) -> None:
    errors: list[Any] = [ServerFailed("busy") for _ in range(9)]
    with Session(lambda: connect(primary), retries=2) as asking, pytest.raises(ServerFailed):
        asking.ask(Failing(*errors))
    assert len(waits) == 2


def test_a_server_that_comes_late(primary: Primary, waits: list[float]) -> None:
    tries = [Unreachable("not yet")]

    def late() -> Exchange:
        if tries:
            raise tries.pop()
        return connect(primary)

    with Session(late) as asking:
        assert asking.ask(Failing()) == "answer"
    assert len(waits) == 1
