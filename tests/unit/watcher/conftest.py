# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration and stand-ins that the watcher's tests share."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from watcher import config as config_module

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.config import Config

SECRET = bytes(range(32))


def written(directory: Path, **changes: Any) -> Path:
    """Write a complete configuration, with some keys of watcher.json replaced (None: left out)."""
    values: dict[str, Any] = {
        "zone": "bob.members.example",
        "prefix": "fd12:3456:789a::/48",
        "label": "macbook",
        "title": "Bob's MacBook",
        "model": None,
        "ula": "fd12:3456:789a::1",
        "server": {"name": "zone.bob.members.example", "addresses": ["203.0.113.10"], "port": 853},
        "ca": str(directory / "ca.pem"),
        "certificate": str(directory / "host.pem"),
        "tsig": {"algorithm": "hmac-sha256", "secret_file": str(directory / "tsig.secret")},
        "stub": {"address": "127.0.0.1", "port": 5300},
    }
    values.update(changes)
    values = {key: value for key, value in values.items() if value is not None}
    (directory / "watcher.json").write_text(json.dumps(values))
    (directory / "services.json").write_text(json.dumps([{"type": "_ssh._tcp", "port": 22, "txt": []}]))
    (directory / "tsig.secret").write_text(base64.b64encode(SECRET).decode() + "\n")
    return directory


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_module.load(written(tmp_path))
