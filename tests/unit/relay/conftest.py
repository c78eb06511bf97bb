# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of an owner, as the library signs them, and sockets that stand for hosts' UDP 4500."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.certificates import Owner


@pytest.fixture(scope="session")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    return Owner(tmp_path_factory.mktemp("owner"))


@pytest.fixture
def udp() -> Iterator[Callable[[], socket.socket]]:
    """Make sockets on loopback that wait a second at most."""
    made: list[socket.socket] = []

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        made.append(sock)
        return sock

    yield make
    for sock in made:
        sock.close()
