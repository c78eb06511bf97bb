# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of several parts share."""

from __future__ import annotations

import ctypes
import os
import random
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000


@pytest.fixture
def ports() -> range:
    """A few ports that are free just now, below those that the kernel gives to clients."""
    for first in random.sample(range(20000, 32000, 12), 100):
        wanted = range(first, first + 12)
        if all(_is_free(port) for port in wanted):
            return wanted
    pytest.fail("no free ports")


@pytest.fixture
def own_network() -> Iterator[Callable[[str], str]]:
    """Put the test, and what it starts, into an empty network namespace; gives a function that runs a command there."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network namespace")
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield _run
        finally:
            assert libc.setns(before.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def _run(command: str) -> str:
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET6, kind) as sock:
            try:
                sock.bind(("", port))
            except OSError:
                return False
    return True
