# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's messages become one call per burst. Needs no rights: a stand-in feeds the socket."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from watcher import netlink

if TYPE_CHECKING:
    import pytest


async def test_a_burst_is_one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)

    class Bound:
        """A socket that is already connected to our kernel."""

        def __init__(self, *_: object) -> None:
            self.fileno, self.close = ours.fileno, ours.close

        def bind(self, address: tuple[int, int]) -> None:
            assert address == (0, 0x551)

    monkeypatch.setattr(netlink, "DEBOUNCE_S", 0.05)
    calls: list[float] = []
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Bound)
        watch = netlink.Watch(lambda: calls.append(asyncio.get_running_loop().time()))
    for _ in range(50):
        kernel.send(b"x")
    await asyncio.sleep(0.15)
    assert len(calls) == 1
    kernel.send(b"x")
    await asyncio.sleep(0.15)
    assert len(calls) == 2
    kernel.send(b"x")
    watch.close()
    await asyncio.sleep(0.1)
    assert len(calls) == 2
    kernel.close()


async def test_the_real_socket_can_be_had() -> None:
    netlink.Watch(lambda: None).close()
