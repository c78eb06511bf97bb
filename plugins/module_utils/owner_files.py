# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the owner's state: made whole or not at all, read with an error that says how to mend them, locked."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import sealed, x509
from .atomic import write_atomic
from .registry import Conflict, DamagedRecord
from .ula import InvalidPrefix, draw_prefix, parse_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv6Network


class OwnerError(ValueError):
    """The owner's state cannot be used as asked: one sentence with cause and fix."""


@dataclass(frozen=True, slots=True)
class ZoneState:
    """What zone.json holds: the zone's /48, and how often each label was removed (its TSIG generation)."""

    prefix: IPv6Network
    generations: dict[str, int]

    def raised(self, label: str) -> ZoneState:
        """Return the state after one more removal of ``label``."""
        return replace(self, generations={**self.generations, label: self.generations.get(label, 0) + 1})


class OwnerFiles:
    """One zone's folder."""

    def __init__(self, directory: Path, zone: str) -> None:
        self.directory = directory
        self._zone = zone

    @property
    def exist(self) -> bool:
        """Whether the folder was made."""
        return (self.directory / "zone.json").exists()

    def make(self, passphrase: str) -> None:
        """Make CA, zone secret and prefix beside their place, and rename. Another process may win: its files count.

        Raises:
            OwnerError: something else is in their place, or it cannot be written.
        """
        if self.directory.exists() and not self.exist:
            raise OwnerError(f"{self.directory} exists but has no zone.json; restore it from a backup, or move it away")
        try:
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(dir=self.directory.parent, prefix=f".{self._zone}."))  # mode 0700
            try:
                prefix = draw_prefix()
                ca, key = x509.make_ca(self._zone, prefix)
                (place / "hosts").mkdir(mode=0o700)
                write_atomic(place / "ca.crt", x509.to_pem(ca).encode(), 0o644)
                write_atomic(place / "ca.key", sealed.seal_key(key, passphrase))
                write_atomic(place / "zone.secret", sealed.seal(os.urandom(32), passphrase, self._zone))
                OwnerFiles(place, self._zone).write_state(ZoneState(prefix, {}))
                place.rename(self.directory)
            finally:
                shutil.rmtree(place, ignore_errors=True)
        except OSError as error:
            if not self.exist:
                raise OwnerError(
                    f"the owner's state cannot be written ({error}); set btmm_owner_dir to a writable place"
                ) from None

    def export(self) -> dict[str, str]:
        """Return all files in base64, by path below the folder."""
        paths = (path for path in sorted(self.directory.rglob("*")) if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(self.directory)): base64.b64encode(path.read_bytes()).decode() for path in paths}

    def restore(self, files: Mapping[str, str]) -> None:
        """Make the folder of what ``export`` returned, whole or not at all.

        Raises:
            OwnerError: something is in its place, or it cannot be written.
        """
        try:
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(dir=self.directory.parent, prefix=f".{self._zone}."))  # mode 0700
            try:
                for name, content in files.items():
                    path = (place / name).resolve()
                    if not path.is_relative_to(place.resolve()):
                        raise OwnerError(f"the backup holds {name}, which is no file of the owner's state")
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    write_atomic(path, base64.b64decode(content), 0o644 if name.endswith("ca.crt") else 0o600)
                place.rename(self.directory)
            finally:
                shutil.rmtree(place, ignore_errors=True)
        except OSError as error:
            raise OwnerError(f"{self.directory} cannot be restored ({error}); move away what is there") from None

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            OwnerError: it is missing or unreadable.
        """
        path = self.directory / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if not self.exist:
                raise OwnerError(
                    f"there is no owner's state for {self._zone} in {self.directory}; run the owner_store task first, "
                    "as site.yml does"
                ) from None
            raise OwnerError(f"{path} is missing; restore it from a backup") from None
        except OSError as error:
            raise OwnerError(f"{path} cannot be read ({error}); mend its permissions") from None

    def read_state(self) -> ZoneState:
        """Return what zone.json holds.

        Raises:
            OwnerError: it is missing or damaged.
        """
        text = self.read("zone.json")
        try:
            given = json.loads(text)
            generations = {str(label): int(number) for label, number in given["generations"].items()}
            return ZoneState(parse_prefix(given["prefix"]), generations)
        except (InvalidPrefix, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise OwnerError(f"{self.directory / 'zone.json'} is damaged ({error}); restore it from a backup") from None

    def write_state(self, state: ZoneState) -> None:
        """Replace zone.json."""
        content = {"zone": self._zone, "prefix": str(state.prefix), "generations": state.generations}
        write_atomic(self.directory / "zone.json", json.dumps(content, indent=1).encode() + b"\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing: one process at a time (flock), forks and other runs alike.

        Raises:
            OwnerError: the lock, or what is written under it, meets a full disk or missing permissions.
        """
        try:
            descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OwnerError(
                f"{self.directory} cannot be written ({error}); make room or mend its permissions"
            ) from None


@contextlib.contextmanager
def owner_errors(path: Path | None = None) -> Iterator[None]:
    """Turn the library's errors into OwnerError, with the file at fault."""
    try:
        yield
    except sealed.WrongPassphrase:
        raise OwnerError(
            f"the passphrase does not open {path}; set btmm_owner_passphrase to the one it was made with"
        ) from None
    except sealed.Damaged as error:
        raise OwnerError(f"{path} is damaged: {error}; restore it from a backup") from None
    except (Conflict, DamagedRecord, x509.BadRequest) as error:
        raise OwnerError(str(error)) from None
