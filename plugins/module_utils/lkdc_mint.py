# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over a Local KDC's database: change what is due, and export the services' keys for the keytab."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import keytab, lkdc_principals
from .lkdc import LkdcError, complaints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .keytab import Entry
    from .lkdc import Kdc
    from .lkdc_principals import Change, Wanted

# Memory, not disk: an export holds live keys for some milliseconds.
_MEMORY = ("/dev/shm", "/run")  # noqa: S108 - a folder of our own is made below it


@dataclass(frozen=True, slots=True)
class Minted:
    """What was (without ``doing``: would be) changed.

    ``names`` are the principals that the database then has, ``entries`` the keys of its wanted services, as far as
    they are known; ``fault`` says what could not be done, if so.
    """

    changes: tuple[Change, ...]
    names: frozenset[str]
    entries: tuple[Entry, ...]
    fault: str = ""


def mint(kdc: Kdc, wanted: Wanted, *, doing: bool) -> Minted:
    """Bring the database to the wanted state; unless ``doing``, only say what that would change.

    What one principal's fault leaves undone is told in the result, not raised: the keytab has to follow the others.

    Raises:
        LkdcError: the database cannot be used at all.
    """
    found = lkdc_principals.read(kdc, wanted.realm)
    due = lkdc_principals.plan(found, wanted)
    rotated = lkdc_principals.rotations(found, wanted, due)
    changes = (*due, *rotated)
    commands = [command for change in changes for command in change.commands] if doing else []
    exporting = [] if wanted.absent else [name for name in wanted.services if name in found or doing]
    entries, said = _run(kdc, wanted.realm, commands, exporting)
    if not doing:
        removed = {change.name for change in changes if change.removes}
        return Minted(changes, frozenset(found.keys() - removed), tuple(entries))
    known = lkdc_principals.read(kdc, wanted.realm) if commands else found
    wrong = {*lkdc_principals.undone(found, known, wanted, rotated)} if commands else set()
    wrong |= set(exporting) - {entry.principal for entry in entries}
    fault = f"{', '.join(sorted(wrong))} could not be changed or read: {complaints(said)}" if wrong else ""
    return Minted(changes, frozenset(known), tuple(entries), fault)


def _run(kdc: Kdc, realm: str, commands: Sequence[str], services: Sequence[str]) -> tuple[list[Entry], str]:
    """Run the commands and export keys, in one process: a service then has a new key milliseconds after the KDC.

    Returns the keys, and what kadmin.local complained of.
    """
    place = next((place for place in _MEMORY if Path(place).is_dir()), None)
    folder = Path(tempfile.mkdtemp(prefix="btmm-", dir=place))  # mode 0700
    try:
        file = folder / "keytab"
        # As they are, -norandkey: ktadd else draws new ones.
        export = [f"ktadd -q -norandkey -k {file} {' '.join(services)}"] if services else []
        said = kdc.kadmin(realm, [*commands, *export])
        return (keytab.parse(file.read_bytes()) if file.exists() else []), said
    except (OSError, keytab.DamagedKeytab) as error:
        raise LkdcError(f"the keys cannot be exported to {folder} ({error}); is the memory full?") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
