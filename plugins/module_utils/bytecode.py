# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte code of a zipapp, made once on the host for the host's own Python.

An archive of sources is compiled anew at every start, and a daemon keeps for life what the compiler once took: 4 MB of
its memory, and half a second. The controller can't compile, since hosts have other versions of Python than it has.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CACHE_DIR = Path("/var/cache/btmm")
_KEPT = 2  # builds: what still runs loads modules late from the former one


def prepare(app: str, build: str) -> None:
    """Have modules loaded from the byte code of this build, if there is any.

    A service that systemd gives a cache directory (systemd.exec(5), CacheDirectory=) makes it first, and then starts
    again as the same process, without the compiler's traces. When that fails, all runs from source as ever.

    Args:
        app: the command's name.
        build: what tells one set of sources from any other.
    """
    given = os.environ.get("CACHE_DIRECTORY")
    directory = Path(given) if given else CACHE_DIR / app
    path = directory / f"{app}-{build}.{sys.implementation.cache_tag}.zip"
    if path.exists():
        sys.path.insert(0, str(path))
    elif given:
        try:
            make(Path(sys.path[0]), path)
            _forget(directory.glob(f"{app}-{'?' * len(build)}.*.zip"))
        except OSError as err:
            print(f"{path} is not written: {err.strerror}", file=sys.stderr)
        else:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def make(sources: Path, path: Path) -> None:
    """Compile every module of the archive `sources` into the archive `path`.

    Raises:
        OSError: the archive can't be read, or the directory not be written.
    """
    import io  # noqa: PLC0415 - whoever finds byte code needs none of these
    import zipfile  # noqa: PLC0415

    from .atomic import write_atomic  # noqa: PLC0415

    buffer = io.BytesIO()
    # Stored, not deflated: a late import then needs no decompression.
    with zipfile.ZipFile(sources) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if not name.endswith(".py"):
                new.writestr(name, old.read(name))  # a package's own data is asked for where its code is (pkgutil)
            elif name != "__main__.py":
                new.writestr(f"{name}c", compiled(old.read(name), f"{sources}/{name}"))
    write_atomic(path, buffer.getvalue(), 0o644)


def compiled(source: bytes, name: str) -> bytes:
    """Return the content of the .pyc of a source (PEP 552, never checked against a source again).

    Documentation of modules and functions is left out, which nobody asks a daemon for. That of classes stays: dnspython
    makes the text of its exceptions of it. Assertions stay, too, other than with `python -OO`.
    """
    import ast  # noqa: PLC0415
    import importlib.util  # noqa: PLC0415
    import marshal  # noqa: PLC0415

    tree = ast.parse(source, name)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node):
            # A function needs a body; a module may have none, and nothing may stand before `from __future__`.
            alone = len(node.body) == 1 and not isinstance(node, ast.Module)
            node.body[:1] = [ast.copy_location(ast.Pass(), node.body[0])] if alone else []
    code = compile(tree, name, "exec", dont_inherit=True)
    unchecked_hash = (1).to_bytes(4, "little") + bytes(8)
    return importlib.util.MAGIC_NUMBER + unchecked_hash + marshal.dumps(code)


def _forget(builds: Iterable[Path]) -> None:
    """Remove all builds but the newest."""
    for former in sorted(builds, key=lambda each: each.stat().st_mtime)[:-_KEPT]:
        former.unlink(missing_ok=True)
