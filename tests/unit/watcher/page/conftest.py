# SPDX-License-Identifier: GPL-3.0-or-later
"""A page that is served, with hosts to show."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from watcher.page.board import Board
from watcher.page.server import PageServer

ZONE = "bob.members.example"


def host(label: str, title: str, **values: Any) -> dict[str, Any]:
    """Return a host as the page is told of it: one without a tunnel, that offers ssh and something unknown."""
    name = f"{label}.{ZONE}"
    services = [
        {"type": "_ssh._tcp", "label": "Terminal", "title": None, "port": 22, "url": f"ssh://{name}"},
        {"type": "_ipp._tcp", "label": "_ipp._tcp", "title": "Color", "port": 631, "url": None},
    ]
    plain = {"model": "iMac4,1", "icon": "all-in-one", "state": "idle", "rung": "direct", "outer": None, "seen": None}
    return {"name": name, "title": title, **plain, "services": services, **values}


@pytest.fixture
def served() -> Iterator[PageServer]:
    """Serve a board on which nothing is shown yet."""
    server = PageServer(Board())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
