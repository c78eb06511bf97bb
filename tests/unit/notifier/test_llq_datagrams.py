# SPDX-License-Identifier: GPL-3.0-or-later
"""A zone host with several addresses answers from the one that it was asked at."""

from __future__ import annotations

import asyncio
import socket

import pytest

from notifier.llq_datagrams import Datagrams, DatagramSockets
from tests.named import free_port

WAYS = [("0.0.0.0", "127.0.0.2"), ("127.0.0.2", "127.0.0.2"), ("::", "::1")]  # noqa: S104 - as the role has it


@pytest.mark.parametrize(("bound", "asked"), WAYS)
async def test_answers_and_events_come_from_the_address_that_was_asked(bound: str, asked: str) -> None:
    came: list[Datagrams] = []

    def take(wire: bytes, peer: Datagrams) -> None:
        came.append(peer)
        peer.tell(wire.upper())

    sockets, port = DatagramSockets(take), free_port()
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        try:
            sockets.listen(bound, port)
        except OSError:
            pytest.skip("this host has no IPv6")
        try:
            client.setblocking(False)
            client.connect((asked, port))  # from now on it takes nothing from elsewhere
            loop = asyncio.get_running_loop()
            for wire in (b"answer", b"another"):
                await loop.sock_sendall(client, wire)
                assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == wire.upper()
            came[0].tell(b"event")
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"event"
        finally:
            sockets.close()
