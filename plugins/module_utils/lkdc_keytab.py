# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's keytab kept in step with its KDC's database; entries of other realms are left as they are."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from . import keytab
from .atomic import write_atomic
from .keytab import DamagedKeytab, Entry
from .lkdc import LkdcError, complaints

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# Memory, not disk: an export holds live keys for some milliseconds.
_MEMORY = ("/dev/shm", "/run")  # noqa: S108 - a folder of our own is made below it


class Export:
    """A folder in memory into which kadmin.local writes the database's keys; gone when the block ends."""

    def __enter__(self) -> Self:
        """Make the folder, mode 0700."""
        place = next((place for place in _MEMORY if Path(place).is_dir()), None)
        self._folder = Path(tempfile.mkdtemp(prefix="btmm-", dir=place))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        shutil.rmtree(self._folder)

    def commands(self, services: Sequence[str]) -> list[str]:
        """Return the kadmin commands that export the services' keys as they are, without drawing new ones."""
        return [f"ktadd -q -norandkey -k {self._folder}/keytab {' '.join(services)}"] if services else []

    def entries(self, services: Sequence[str], said: str) -> list[Entry]:
        """Return what was exported; ``said`` is what kadmin.local complained of.

        Raises:
            LkdcError: the keys of a service are missing.
        """
        path = self._folder / "keytab"
        found = keytab.parse(path.read_bytes()) if path.exists() else []
        missing = set(services) - {entry.principal for entry in found}
        if missing:
            raise LkdcError(f"there are no keys of {', '.join(sorted(missing))}: {complaints(said)}")
        return found


@dataclass(frozen=True, slots=True)
class Installed:
    """The keytab on the host; ``damaged`` says why it could not be read, if so, and nothing of it is known then."""

    path: Path
    entries: tuple[Entry, ...] = ()
    exists: bool = False
    damaged: str = ""

    @classmethod
    def read(cls, path: Path) -> Installed:
        """Read the file.

        Raises:
            LkdcError: it is there, and cannot be opened.
        """
        try:
            return cls(path, tuple(keytab.parse(path.read_bytes())), exists=True)
        except FileNotFoundError:
            return cls(path)
        except DamagedKeytab as error:
            return cls(path, exists=True, damaged=str(error))
        except OSError as error:
            raise LkdcError(f"{path} cannot be read ({error}); mend the file") from None

    def merged(
        self, realm: str, exported: Iterable[Entry], managed: Collection[str], known: Collection[str]
    ) -> list[Entry]:
        """Return what the keytab should hold.

        Args:
            realm: the realm to put in step.
            exported: the keys of its listed services.
            managed: the principals that were asked for; their entries are the exported ones alone.
            known: all principals of the realm; entries of others are of no use any more.
        """
        kept = [
            entry
            for entry in self.entries
            if entry.realm != realm or (entry.principal in known and entry.principal not in managed)
        ]
        return [*kept, *exported]

    def differs(self, entries: Sequence[Entry]) -> bool:
        """Whether the file has to be written (or, without entries, removed)."""
        return bool(self.damaged) or self.exists != bool(entries) or not keytab.same(self.entries, entries)

    def write(self, entries: Sequence[Entry], mode: int, owner: str, group: str) -> None:
        """Replace the file in one step; without entries there is none.

        Raises:
            LkdcError: the disk, the folder or the owner is at fault.
        """
        try:
            if entries:
                write_atomic(self.path, keytab.build(entries), mode, owner, group)
            else:
                self.path.unlink(missing_ok=True)
        except (OSError, LookupError) as error:
            raise LkdcError(
                f"{self.path} cannot be written ({error}); mend the folder, its owner or the disk"
            ) from None


def describe(entries: Iterable[Entry]) -> str:
    """Return the entries for a diff, one a line, without their keys."""
    return "".join(sorted(f"{e.principal}@{e.realm} key {e.kvno} enctype {e.enctype}\n" for e in entries))
