# SPDX-License-Identifier: GPL-3.0-or-later
"""Push sessions in this process, at moments that no test from outside can hit."""

from __future__ import annotations

import dns.name
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

from notifier.access import Access
from notifier.config import Limits
from notifier.mirror import Mirror
from notifier.push_server import PushServer
from tests.notifier import ZONE

TXT = 16


def question(label: str) -> Question:
    return Question(dns.name.from_text(label, ZONE), TXT)


def test_answers_without_any_record_are_not_kept() -> None:
    server = PushServer(Mirror(), Access(), Limits())
    for number in range(20_000):
        topic = server.topic(question(f"n{number}"))
        assert server.initial(topic, 0) == b""
    assert len(server._answers) == 0
