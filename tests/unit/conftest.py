# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of several parts share."""

from __future__ import annotations

import random
import socket

import pytest


@pytest.fixture
def ports() -> range:
    """A few ports that are free just now, below those that the kernel gives to clients."""
    for first in random.sample(range(20000, 32000, 12), 100):
        wanted = range(first, first + 12)
        if all(_is_free(port) for port in wanted):
            return wanted
    pytest.fail("no free ports")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET6, kind) as sock:
            try:
                sock.bind(("", port))
            except OSError:
                return False
    return True
