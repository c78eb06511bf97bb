# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a host's /etc/resolv.conf, there and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.btmm.fleet.plugins.modules import kept_nameservers

if TYPE_CHECKING:
    from pathlib import Path


class Ended(Exception):
    """Stands for the end of the process."""


class Module:
    def __init__(self, *, check_mode: bool = False) -> None:
        self.check_mode = check_mode
        self.result: dict[str, Any] = {}

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended


class Host:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "resolv.conf"
        self.kept = directory / "btmm" / "before"
        self.drop_in = directory / "resolved.conf.d" / "btmm.conf"
        self.stub = directory / "run" / "stub"
        self.stub.parent.mkdir()
        self.stub.write_text("nameserver 127.0.0.53\n")

    def run(self, function: Any, **options: Any) -> dict[str, Any]:
        module = Module(**options)
        with pytest.raises(Ended):
            function(self.path, self.kept, self.drop_in, module)
        return module.result

    def hand_over(self) -> None:
        self.path.unlink()
        self.path.symlink_to(self.stub)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(kept_nameservers, "RESOLVED_DIR", f"{tmp_path}/run/")
    return Host(tmp_path)


def test_there_and_back(host: Host) -> None:
    host.path.write_text("nameserver 192.0.2.1\n")
    result = host.run(kept_nameservers.keep)
    assert (result["changed"], result["nameservers"]) == (True, ["192.0.2.1"])
    assert "DNS=192.0.2.1" in host.drop_in.read_text()
    assert host.run(kept_nameservers.keep)["changed"] is False
    host.hand_over()
    assert host.run(kept_nameservers.keep)["changed"] is False
    assert host.run(kept_nameservers.put_back)["changed"] is True
    assert not host.path.is_symlink()
    assert host.path.read_text() == "nameserver 192.0.2.1\n"
    assert host.stub.read_text() == "nameserver 127.0.0.53\n"
    assert not host.drop_in.exists()
    assert host.run(kept_nameservers.put_back)["changed"] is False


def test_check_mode_changes_nothing(host: Host) -> None:
    host.path.write_text("nameserver 192.0.2.1\n")
    result = host.run(kept_nameservers.keep, check_mode=True)
    assert result["changed"] is True
    assert "192.0.2.1" in result["diff"]["after"]
    assert not host.kept.exists()
    assert not host.drop_in.exists()


@pytest.mark.parametrize("text", ["", "nameserver 127.0.0.1\n"])
def test_a_file_without_servers_is_left_alone(host: Host, text: str) -> None:
    host.path.write_text(text)
    assert host.run(kept_nameservers.keep)["changed"] is False


def test_no_file(host: Host) -> None:
    assert host.run(kept_nameservers.keep)["changed"] is False
