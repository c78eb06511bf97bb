# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's keytab kept in step with its KDC's database; what belongs to other realms is left as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import keytab
from .atomic import write_atomic
from .keytab import DamagedKeytab, Entry
from .krb5_names import is_local
from .lkdc import LkdcError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path


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

    def merged(self, realm: str, name: str, exported: Iterable[Entry], known: Collection[str]) -> list[Entry]:
        """Return what the keytab should hold.

        Former realms of the host lose their entries: their tickets would else be taken for as long as the file lives.

        Args:
            realm: the realm to put in step.
            name: the host's name, by which a former realm of it is known.
            exported: keys of the realm, in the place of all that the file has of the same principals.
            known: the realm's principals; entries of others are of no use any more.
        """
        exported = list(exported)
        fresh = {entry.principal for entry in exported}
        former = {
            entry.realm
            for entry in self.entries
            if entry.realm != realm and is_local(entry.realm) and entry.principal.partition("/")[2] == name
        }
        kept = [
            entry
            for entry in self.entries
            if entry.realm not in former
            and (entry.realm != realm or (entry.principal in known and entry.principal not in fresh))
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
    """Return the entries for a diff, without their keys: a line for each principal's version, with the types."""
    found: dict[tuple[str, int], list[int]] = {}
    for entry in entries:
        found.setdefault((f"{entry.principal}@{entry.realm}", entry.kvno), []).append(entry.enctype)
    return "".join(
        f"{principal}: key {kvno}, types {', '.join(map(str, sorted(types)))}\n"
        for (principal, kvno), types in sorted(found.items())
    )
