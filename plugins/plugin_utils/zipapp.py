# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a command as one file: its own package, the library files it uses, and its pure-Python packages."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import io
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
LIBRARY = "ansible_collections.btmm.fleet.plugins.module_utils"

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = """# SPDX-License-Identifier: GPL-3.0-or-later
import sys

from {library}.bytecode import prepare

prepare("{name}", "{build}")

from {package}.cli import main

sys.exit(main())
"""
# dnspython asks by importlib.metadata which optional packages there are: 1.8 MB of modules for the answer "none".
_NO_FEATURES = b'''# SPDX-License-Identifier: GPL-3.0-or-later
"""In place of dnspython's own file: none of its optional packages is carried along, so the host's don't count."""


def have(feature: str) -> bool:
    """Tell that there is no such feature."""
    return False


def force(feature: str, enabled: bool) -> None:
    """Refuse: there is nothing to switch on."""
    raise NotImplementedError(feature)
'''
# What a command shows in a browser.
_STATIC = (".html", ".css", ".js", ".svg")
# The earliest time that a zip can hold: the same sources make the same file, whenever and wherever it is built.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class App:
    """A command: its file name, the package in the repository with its `cli.main`, and what it carries along."""

    name: str
    package: str
    distributions: tuple[str, ...]


WATCHER = App("btmm", "watcher", ("dnspython", "pyasn1", "vici"))
# The zone host has dnspython from its distribution, for the modules that run there.
SWEEPER = App("btmm-sweep", "sweeper", ())
RELAY = App("btmm-relay", "relay", ())
# Its own dnspython, since the one of Debian 12 is older than what the mirror was measured with.
NOTIFIER = App("btmm-notifier", "notifier", ("dnspython",))
APPS = {app.package: app for app in (WATCHER, SWEEPER, NOTIFIER, RELAY)}


class ZipappError(Exception):
    """The command can't be built; one sentence with cause and fix."""


def cached(cache: Path, app: App = WATCHER, root: Path = ROOT) -> Path:
    """Return the path of the built command, building it only when its sources changed.

    The file's name is a digest of its members, so forks of one run and runs of different checkouts share the folder.

    Raises:
        ZipappError: a package is missing on the controller.
    """
    members = dict(collect(app, root))
    path = cache / f"{app.name}-{_digest(members)}.pyz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(path, pack(members.items()), 0o755)
    return path


def pack(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the zipapp (PEP 441) of the members: the same bytes for the same members."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, wherever the controller runs
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def collect(app: App = WATCHER, root: Path = ROOT) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every member, in the order of their names."""
    members = {"__main__.py": _main(app, "")}
    for path in sorted((root / app.package).rglob("*")):
        if path.suffix in {".py", *_STATIC}:
            members[path.relative_to(root).as_posix()] = path.read_bytes()
    package = PurePosixPath(*LIBRARY.split("."))
    for parent in (package, *package.parents):
        if parent.name:
            members[f"{parent}/__init__.py"] = b""  # a zip without folder entries has no namespace packages
    library = root / "plugins" / "module_utils"
    for module in _needed(library, members):
        members[f"{package}/{module}.py"] = (library / f"{module}.py").read_bytes()
    for distribution in app.distributions:
        members.update(_distribution(distribution))
    if "dns/_features.py" in members:
        members["dns/_features.py"] = _NO_FEATURES
    members["__main__.py"] = _main(app, _digest(members))
    yield from sorted(members.items())


def _main(app: App, build: str) -> bytes:
    return _MAIN.format(library=LIBRARY, package=app.package, name=app.name, build=build).encode()


def _digest(members: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(members.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


def _needed(library: Path, members: dict[str, bytes]) -> set[str]:
    """The library files that the members import, and those that these import."""
    found: set[str] = set()
    sources = [content for name, content in members.items() if name.endswith(".py")]
    wanted = {name for content in sources for name in _imports(content)}
    while wanted:
        name = wanted.pop()
        path = library / f"{name}.py"
        if name not in found and path.exists():
            found.add(name)
            wanted |= _imports(path.read_bytes())
    return found


def _imports(source: bytes) -> set[str]:
    """Names of library files that a source imports, absolutely or as a sibling; some may be no files."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if module == LIBRARY or (node.level == 1 and not module):
            names.update(alias.name for alias in node.names)
        elif module.startswith(f"{LIBRARY}."):
            names.add(module.removeprefix(f"{LIBRARY}."))
        elif node.level == 1:
            names.add(module)
    return names


def _distribution(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the Python files of an installed package, its metadata and its licences."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise ZipappError(f"the controller lacks the Python package {name}: install requirements.lock") from None
    for file in files:
        described = ".dist-info" in file.parts[0] and (file.name == "METADATA" or "licen" in str(file).lower())
        if described or (file.suffix == ".py" and ".." not in file.parts):
            yield file.as_posix(), Path(str(file.locate())).read_bytes()
