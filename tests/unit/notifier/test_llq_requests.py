# SPDX-License-Identifier: GPL-3.0-or-later
"""LLQ requests that are noise, or nearly right: nothing is raised, nothing kept, and no more is sent than came."""

from __future__ import annotations

import dns.name
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils import llq, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Llq, Opcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.access import Client
from notifier.config import Limits
from notifier.llq_events import Events
from notifier.llq_rates import Rates
from notifier.llq_requests import Requests
from notifier.llq_table import Table
from notifier.mirror import Mirror
from tests.notifier import ZONE
from tests.unit.notifier.test_access import SECRET, Place, place

__all__ = ["place"]  # the fixture
SSH = Question(dns.name.from_text("_ssh._tcp", ZONE), 12)
KEY = dns.tsig.Key(dns.name.from_text("imac", ZONE), SECRET, "hmac-sha256")
LLQS = st.builds(
    Llq,
    st.sampled_from([*Opcode, 0, 9]),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 7),
    st.sampled_from([0, 1, 2]),
)


class Somebody:
    """Who sends datagrams, and keeps what is sent back."""

    address = "192.0.2.1"
    where = ("192.0.2.1", 5353)
    client: Client | None = None
    reliable = secret = False

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def tell(self, wire: bytes) -> None:
        self.told.append(wire)

    def introduced(self, _: Client) -> bool:
        return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.binary(max_size=200),
    options=st.lists(LLQS, max_size=3),
    questions=st.lists(st.builds(Question, st.just(SSH.name), st.integers(0, 0xFFFF), st.integers(0, 4)), max_size=3),
    signed=st.booleans(),
    at=st.integers(0, 200),
    put=st.binary(max_size=3),
)
def test_noise_and_damaged_requests(
    place: Place, noise: bytes, options: list[Llq], questions: list[Question], signed: bool, at: int, put: bytes
) -> None:
    table = Table(Limits())
    requests = Requests(Mirror(), place.access, table, Events(table), (900, 7200), Rates(table, Limits()))
    good, _ = llq.encode(1, questions, options)
    if signed:
        good, _ = tsig.sign(good, KEY)
    for wire in (noise, good, good[:at] + put + good[at + len(put) :]):
        peer = Somebody()
        requests.take(wire, peer)
        assert len(peer.told) <= 1
        for answer in peer.told:
            assert llq.parse(answer).response
            assert answer[:2] == wire[:2]
            assert len(answer) <= len(wire)
    assert len(table) == 0
