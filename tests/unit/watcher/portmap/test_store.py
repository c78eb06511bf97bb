# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of gateways when nothing can be kept: a disk that is read-only costs a file, not the daemon."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import json_files

from watcher.portmap.mapper import Mapper
from watcher.portmap.store import Store
from watcher.uplink import Uplink

from .conftest import FakeGateway

ROUTER = IPv4Address("192.168.1.1")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Refuse what makes a file, as the kernel does there; the tests run as root, whom no mode stops."""
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        makes = flags & (os.O_WRONLY | os.O_RDWR) or (flags & os.O_CREAT and not Path(path).exists())
        if makes and Path(path).is_relative_to(tmp_path):
            raise OSError(30, "Read-only file system", path)
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(json_files, "_unwritten", {})
    return tmp_path


async def test_a_read_only_disk_costs_the_locks_and_is_told(read_only: Path, gateway: FakeGateway) -> None:
    mapper = Mapper(read_only)
    loopback = IPv4Address("127.0.0.1")
    mapping = await mapper.async_obtain(Uplink(loopback, loopback))
    assert mapping.method == "pcp"
    assert "Read-only file system" in (json_files.fault() or "")
    asked = len(gateway.requests)
    await mapper.async_release()
    assert len(gateway.requests) == asked  # whether another daemon uses it, nobody knows


async def test_the_nonce_stays_for_as_long_as_the_process(read_only: Path) -> None:
    store = Store(read_only)
    assert store.recall(ROUTER) == store.recall(ROUTER)


@pytest.fixture
def made_before(tmp_path: Path) -> None:
    (tmp_path / "portmap.users").touch()


@pytest.mark.usefixtures("made_before")
async def test_a_lock_that_was_made_before_is_taken_on_a_read_only_disk(read_only: Path) -> None:
    first, second = Store(read_only), Store(read_only)
    await first.async_join()
    await second.async_join()
    with first.leaving() as alone:
        assert not alone
    with second.leaving() as alone:
        assert alone


async def test_what_is_written_again_is_no_fault_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_unwritten", {})
    store = Store(tmp_path / "later")
    store.recall(ROUTER)
    assert json_files.fault()
    (tmp_path / "later").mkdir()
    store.note(ROUTER, 41500, "pcp")
    assert json_files.fault() is None
