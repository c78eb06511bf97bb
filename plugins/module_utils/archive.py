# SPDX-License-Identifier: GPL-3.0-or-later
"""A reproducible archive of files with their owners and modes: equal content gives equal octets, so copies compare."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class BadArchive(ValueError):
    """The octets are not an archive that may be unpacked here."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file's content, mode, and owner by name: numbers differ from host to host."""

    content: bytes
    mode: int
    owner: str
    group: str


def read_tree(directory: Path) -> dict[str, Kept]:
    """Return every regular file at or below a directory, by absolute path; none when there is no directory."""
    files = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            files[str(path)] = Kept(path.read_bytes(), path.stat().st_mode & 0o777, path.owner(), path.group())
    return files


def pack(files: Mapping[str, Kept]) -> bytes:
    """Return the archive: gzip of tar, without times."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, kept in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uname, entry.gname = len(kept.content), kept.mode, kept.owner, kept.group
            archive.addfile(entry, io.BytesIO(kept.content))
    return gzip.compress(plain.getvalue(), mtime=0)


def unpack(packed: bytes, places: Iterable[str]) -> dict[str, Kept]:
    """Return the files of an archive.

    Args:
        packed: what `pack` returned.
        places: absolute paths; every file must be one of them or below one.

    Raises:
        BadArchive: damaged, or with a file in another place.
    """
    allowed = [Path(place) for place in places]
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed)), mode="r:") as archive:
            for entry in archive:
                path = Path(os.path.normpath("/" + entry.name))
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is None or not any(path.is_relative_to(place) for place in allowed):
                    raise BadArchive(f"the backup has {path}, which is no file of the zone")
                files[str(path)] = Kept(content.read(), entry.mode & 0o777, entry.uname, entry.gname)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BadArchive(f"the backup is damaged: {error}") from error
    return files


def digest(files: Mapping[str, Kept]) -> str:
    """Return SHA-256 over paths, owners, modes and contents, hex."""
    return hashlib.sha256(pack(files)).hexdigest()


def install(files: Mapping[str, Kept]) -> None:
    """Write the files, making folders on the way; what else is there stays."""
    for path, kept in files.items():
        folder = Path(path).parent
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o750)
            shutil.chown(folder, kept.owner, kept.group)
        write_atomic(Path(path), kept.content, kept.mode, kept.owner, kept.group)
