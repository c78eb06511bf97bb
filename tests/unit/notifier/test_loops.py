# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop that dies takes the notifier with it, so that systemd starts it again."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import dns.name
import dns.tsig
import pytest

from notifier import llq_server, push_server
from notifier.access import Access
from notifier.config import Limits
from notifier.llq_server import LlqServer
from notifier.mirror import Mirror
from notifier.push_server import PushServer
from notifier.streams import Streams
from notifier.upstream import Primary, Upstream
from tests.notifier import ZONE


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return codes


async def async_fail(*_: object) -> None:
    raise ZeroDivisionError


async def test_a_mirror_whose_loop_dies(ended: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Upstream, "async_transfer", async_fail)
    mirror = Mirror()
    key = dns.tsig.Key(dns.name.from_text("imac", ZONE), "c2VjcmV0", "hmac-sha256")
    mirror.keep({ZONE: Primary("zone.example", ("192.0.2.1",), 853, Path("ca.pem"), key)})
    await asyncio.sleep(0.05)
    assert ended == [os.EX_SOFTWARE]


@pytest.mark.parametrize(("module", "kind"), [(push_server, PushServer), (llq_server, LlqServer)])
async def test_a_server_whose_loop_dies(
    ended: list[int], monkeypatch: pytest.MonkeyPatch, module: object, kind: type[PushServer | LlqServer]
) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.0)
    monkeypatch.setattr(Streams, "sweep", lambda _: 1 / 0)
    server = kind(Mirror(), Access(), Limits())
    await server.async_start((), 0)
    await asyncio.sleep(0.05)
    assert ended == [os.EX_SOFTWARE]
