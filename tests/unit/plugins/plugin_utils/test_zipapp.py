# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon as one file: reproducible, complete, and it starts."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.plugin_utils import zipapp

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_sources_make_the_same_bytes() -> None:
    members = list(zipapp.collect())
    assert zipapp.pack(members) == zipapp.pack(reversed(members))


def test_it_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = zipapp.cached(tmp_path / "new" / "folder")
    monkeypatch.setattr(zipapp, "pack", lambda _: pytest.fail("built again"))
    assert zipapp.cached(tmp_path / "new" / "folder") == first


def test_it_holds_what_it_needs_and_no_more(tmp_path: Path) -> None:
    with zipfile.ZipFile(zipapp.cached(tmp_path)) as archive:
        names = archive.namelist()
    library = "ansible_collections/btmm/fleet/plugins/module_utils"
    assert {"__main__.py", "watcher/cli.py", "dns/message.py", "vici/session.py"} <= set(names)
    assert {f"{library}/{name}.py" for name in ("names", "natpmp", "records", "update", "atomic")} <= set(names)
    assert {f"watcher/page/static/{name}" for name in ("page.html", "page.css", "page.js", "icon.svg")} <= set(names)
    # The owner's side has no business on a host.
    assert not {f"{library}/{name}.py" for name in ("owner", "owner_files", "registry", "x509", "sealed")} & set(names)
    assert sum("license" in name.lower() for name in names) >= len(zipapp.WATCHER.distributions)


def test_it_runs_alone(tmp_path: Path) -> None:
    built = zipapp.cached(tmp_path)
    # -S -E: no site-packages, no environment, as on a host that has nothing but Python.
    isolated = [sys.executable, "-S", "-E"]
    told = subprocess.run([*isolated, str(built), "status"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "it belongs to no zone" in told.stderr
    loads = f"import sys; sys.path.insert(0, {str(built)!r}); import watcher.daemon, vici"
    subprocess.run([*isolated, "-c", loads], check=True, cwd=tmp_path)


def test_the_sweeper_has_its_own_file_and_uses_the_dnspython_of_the_host(tmp_path: Path) -> None:
    built = zipapp.cached(tmp_path, zipapp.SWEEPER)
    assert built.name.startswith("btmm-sweep-")
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    assert {"sweeper/cli.py", "ansible_collections/btmm/fleet/plugins/module_utils/sweep.py"} <= set(names)
    assert not any(name.startswith(("dns/", "watcher/")) for name in names)
    command = [sys.executable, str(built), "--zone=bob", "--prefix=fd00::/48", "--key-file=x"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "zone 'bob' is not a domain" in told.stderr


def test_a_missing_package_is_told(tmp_path: Path) -> None:
    lacking = zipapp.App("btmm", "watcher", ("no-such-package",))
    with pytest.raises(zipapp.ZipappError, match="lacks the Python package no-such-package"):
        zipapp.cached(tmp_path, lacking)
