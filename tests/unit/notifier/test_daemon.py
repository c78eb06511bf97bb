# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon as a process beside a real BIND: configuration, status, signals, command line, the file it ships as."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import dns.name
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.plugin_utils.zipapp import NOTIFIER, ROOT, cached

from notifier import cli, config
from notifier.config import Limits
from notifier.errors import ConfigError
from tests.certificates import Certificate, Owner
from tests.named import ADDRESS, SECRET, Named, free_port, serving

ZONE = dns.name.from_text("bob.members.example.")
REVERSE = dns.name.from_text("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.")
PATIENCE_S = 15.0


def write(directory: Path, port: int = 853, notify: int = 5453, **changes: Any) -> Path:
    """Write what the role writes, with some of the zone's keys replaced (None: left out)."""
    folder = directory / "credentials"
    folder.mkdir(exist_ok=True)
    if not (folder / "key.pem").exists():
        owner = Owner(directory)
        server = owner.server()
        for source, name in (
            (server.certificate, "cert.pem"),
            (server.key, "key.pem"),
            (server.ca, "ca.pem"),
            (server.crl, "crl.pem"),
        ):
            shutil.copy(source, folder / name)
        key = f'key "all.{ZONE}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
        (folder / "keys.conf").write_text(key)
    values: dict[str, Any] = {
        "zone": "bob.members.example",
        "reverse_zone": str(REVERSE),
        "server_name": "zone.bob.members.example",
        "label": "all",
        "primary": {"name": "zone.bob.members.example", "addresses": [ADDRESS], "port": port},
        "notify_from": [ADDRESS],
        "credentials": str(folder),
        "public": False,
        **changes,
    }
    main = {
        "notify_addresses": [ADDRESS],
        "addresses": [ADDRESS],
        "ports": {"notify": notify, "push": 0, "llq": 0, "llq_tls": 0},
        "limits": {each.name: each.default for each in fields(Limits)},
    }
    (directory / "config").mkdir(exist_ok=True)
    (directory / "config" / "daemon.json").write_text(json.dumps(main))
    values = {key: value for key, value in values.items() if value is not None}
    (directory / "config" / "bob.members.example.json").write_text(json.dumps(values))
    return directory / "config"


def test_a_complete_configuration(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path))
    (served,) = loaded.served
    assert served.domain.zones == {ZONE, REVERSE}
    assert str(served.primary) == f"the primary zone.bob.members.example ({ADDRESS} port 853)"
    assert [key.name for key in served.notify_keys] == [served.primary.key.name]
    assert (loaded.ports.notify, loaded.ports.push, loaded.limits) == (5453, 0, Limits())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"zone": None}, "no 'zone'"),
        ({"zone": "a..b"}, "wrong 'zone'"),
        ({"primary": {}}, "wrong 'primary'"),
        ({"primary": {"name": "z", "addresses": ["nowhere"], "port": 853}}, "wrong 'addresses'"),
        ({"notify_from": []}, "wrong 'notify_from'"),
        ({"label": "zone_notifier"}, "wrong 'label'"),
        ({"label": "other"}, "no key of other.bob.members.example"),
        ({"credentials": "/nowhere"}, "/nowhere/keys.conf can't be read"),
    ],
)
def test_a_wrong_one_is_one_sentence(tmp_path: Path, changes: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        config.load(write(tmp_path, **changes))
    assert SECRET not in str(caught.value)


@dataclass
class Running:
    process: subprocess.Popen[str]
    directory: Path
    named: Named

    @property
    def arguments(self) -> list[str]:
        return ["--config", str(self.directory / "config"), "--run", str(self.directory / "run")]

    def status(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "run" / "status.json").read_text())
        return value

    def zone(self) -> dict[str, Any]:
        value: dict[str, Any] = self.status()["zones"]["bob.members.example"]
        return value

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, self.status()
            time.sleep(0.05)


def hear(manager: socket.socket, line: str) -> None:
    manager.settimeout(PATIENCE_S)
    while line not in manager.recv(4096).decode().splitlines():
        pass


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Play systemd's side of sd_notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "manager"))
        yield sock


@contextlib.contextmanager
def running(tmp_path: Path, *program: str) -> Iterator[Running]:
    notify = free_port()
    write(tmp_path)
    with serving(
        ZONE,
        REVERSE,
        tls=Certificate(*(tmp_path / "credentials" / name for name in ("key.pem", "cert.pem", "ca.pem", "crl.pem"))),
        notify=notify,
    ) as named:
        write(tmp_path, named.tls_port, notify)
        (tmp_path / "run").mkdir()
        command = [*program, "--config", str(tmp_path / "config"), "--run", str(tmp_path / "run"), "serve"]
        paths = f"{ROOT / '.collections'}:{ROOT}"
        environment = {
            **os.environ,
            "PYTHONPATH": paths,
            "NOTIFY_SOCKET": str(tmp_path / "manager"),
            "WATCHDOG_USEC": "1000000",
        }
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            yield Running(process, tmp_path, named)
        finally:
            process.kill()
            process.communicate()


def test_runs_reloads_and_ends(tmp_path: Path, manager: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path, sys.executable, "-m", "notifier") as it:
        hear(manager, "READY=1")
        hear(manager, "WATCHDOG=1")
        assert cli.main([*it.arguments, "wait"]) == 0
        assert cli.main([*it.arguments, "status"]) == 0
        assert "bob.members.example  current since " in capsys.readouterr().out
        before = it.zone()["serial"]
        change = dns.update.UpdateMessage(ZONE)
        change.add("imac", 120, "A", "192.0.2.1")
        it.named.update(change)
        it.until(lambda: it.zone()["serial"] == before + 1)

        # What is wrong is told, and harms nothing that goes on.
        write(tmp_path, it.named.tls_port, it.status()["notify"]["ports"][0], label=None)
        it.process.send_signal(signal.SIGHUP)
        it.until(lambda: "no 'label'" in str(it.status()["error"]))
        assert cli.main([*it.arguments, "status"]) == 1
        assert cli.main([*it.arguments, "wait", "--timeout", "0.2"]) == 1
        assert "has not read its configuration" in capsys.readouterr().err
        change = dns.update.UpdateMessage(ZONE)
        change.delete("imac")
        it.named.update(change)
        it.until(lambda: it.zone()["serial"] == before + 2)

        write(tmp_path, it.named.tls_port, it.status()["notify"]["ports"][0])
        it.process.send_signal(signal.SIGHUP)
        it.until(lambda: it.status()["error"] is None)
        assert cli.main([*it.arguments, "wait"]) == 0

        write(tmp_path, it.named.tls_port, 1)
        it.process.send_signal(signal.SIGHUP)
        it.until(lambda: "restart btmm-notifier" in str(it.status()["error"]))

        it.named.stop()
        it.until(lambda: bool(it.zone()["stale"]))
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(PATIENCE_S) == 0
        hear(manager, "STOPPING=1")


def test_the_file_that_is_installed_runs(tmp_path: Path, manager: socket.socket) -> None:
    built = cached(tmp_path / "cache", NOTIFIER)
    with running(tmp_path, sys.executable, "-I", "-S", str(built)) as it:
        hear(manager, "READY=1")
        assert it.zone()["serial"], it.status()


def test_what_it_cannot_begin_with_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(tmp_path / "none"), "--run", str(tmp_path)]
    assert cli.main([*arguments, "serve"]) == os.EX_CONFIG
    assert "daemon.json does not exist: run the role notifier" in capsys.readouterr().err
    assert cli.main([*arguments, "status"]) == 3
    assert cli.main([*arguments, "wait", "--timeout", "0"]) == 1
    assert "the notifier does not run" in capsys.readouterr().err
