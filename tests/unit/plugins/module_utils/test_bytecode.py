# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte code is made once, used from then on, and never needed."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bytecode
from ansible_collections.btmm.fleet.plugins.plugin_utils import zipapp

SOURCE = b'''"""A module."""
from __future__ import annotations


class FormError(Exception):
    """The form is wrong."""


def empty():
    """Do nothing."""


async def checked(value):
    """Check."""
    assert value
    return value
'''


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zipapp.cached(tmp_path_factory.mktemp("built"))


def run(app: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CACHE_DIRECTORY": str(cache)}
    command = [sys.executable, "-I", "-S", str(app), "status", "--help"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def origin(app: Path, cache: Path) -> str:
    """Return where the app's own package is loaded from."""
    main = "import sys, runpy; sys.argv = ['btmm', 'status', '--help']\ntry: runpy.run_path({!r}, run_name='__main__')"
    program = main.format(str(app)) + "\nexcept SystemExit: print(sys.modules['watcher.cli'].__file__, file=sys.stderr)"
    environment = {**os.environ, "CACHE_DIRECTORY": str(cache)}
    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stderr.strip()


def test_it_is_made_once_and_used(app: Path, tmp_path: Path) -> None:
    assert run(app, tmp_path).returncode == 0
    (made,) = tmp_path.iterdir()
    before = made.stat().st_mtime_ns
    assert run(app, tmp_path).returncode == 0
    assert made.stat().st_mtime_ns == before
    assert origin(app, tmp_path) == f"{made}/watcher/cli.pyc"


def test_what_a_package_reads_of_itself_is_there_too(app: Path, tmp_path: Path) -> None:
    run(app, tmp_path)
    (made,) = tmp_path.iterdir()
    reads = (
        "import sys, pkgutil; sys.path[:0] = sys.argv[1:]; print(pkgutil.get_data('watcher.page', 'static/page.js'))"
    )
    told = subprocess.run([sys.executable, "-I", "-S", "-c", reads, made], capture_output=True, check=True, timeout=60)
    assert b"EventSource" in told.stdout


def test_damaged_byte_code_is_passed_over(app: Path, tmp_path: Path) -> None:
    run(app, tmp_path)
    (made,) = tmp_path.iterdir()
    made.write_bytes(b"PK nothing")
    assert run(app, tmp_path).returncode == 0
    assert origin(app, tmp_path) == f"{app}/watcher/cli.py"


def test_a_directory_that_is_not_there_costs_one_line(app: Path, tmp_path: Path) -> None:
    done = run(app, tmp_path / "missing")
    assert done.returncode == 0
    assert done.stderr.endswith("is not written: No such file or directory\n")


def test_two_builds_are_kept_and_other_apps_left_alone(app: Path, tmp_path: Path) -> None:
    for age, name in enumerate(("a" * 32, "b" * 32, "c" * 32)):
        path = tmp_path / f"btmm-{name}.cpython-311.zip"
        path.touch()
        os.utime(path, (age, age))
    (tmp_path / f"btmm-sweep-{'a' * 32}.cpython-311.zip").touch()
    run(app, tmp_path)
    kept = {path.name[:10] for path in tmp_path.iterdir()}
    assert "btmm-ccccc" in kept
    assert "btmm-sweep" in kept
    assert len(kept) == 3


def test_documentation_goes_where_nobody_reads_it() -> None:
    module = ModuleType("m")
    exec(marshal.loads(bytecode.compiled(SOURCE, "m.py")[16:]), module.__dict__)  # noqa: S102, S302 - our own
    assert module.__doc__ is None
    assert module.FormError.__doc__ == "The form is wrong."
    assert isinstance(module.empty, FunctionType)
    assert module.empty.__doc__ is None
    assert module.empty() is None
    with pytest.raises(AssertionError):
        module.checked(0).send(None)
