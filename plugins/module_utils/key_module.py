# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that keep a key and its certificate on a host have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bundle import last
from .keyfiles import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ansible.module_utils.basic import AnsibleModule

    from .keyfiles import KeyFiles

# What an action plugin adds when it has signed something.
GIVEN = {"certificate": {"type": "str"}, "ca_certificate": {"type": "str"}, "crl": {"type": "str"}}


def diff_of(path: Path | str, before: str, after: str) -> dict[str, str]:
    """Return the diff of a file, or of what ``path`` says."""
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": after}


def install_given(module: AnsibleModule, files: KeyFiles) -> bool:
    """Install the certificates and the list that were given; return whether one was (or would be) written.

    Raises:
        KeyFileError: a file cannot be written.
    """
    changed = False
    # The list before the certificate: who sees the new certificate has all that is needed to judge others.
    for path, option in ((files.ca, "ca_certificate"), (files.crl, "crl"), (files.certificate, "certificate")):
        content = module.params[option]
        if path and content and content != read(path):
            changed = True
            if not module.check_mode:
                files.install(path, content)
    return changed


def install_seconds(module: AnsibleModule, files: KeyFiles) -> bool:
    """Bring the second files, if they are wanted, to what the first ones hold; return whether one was (would be) made.

    Raises:
        KeyFileError: a file cannot be written.
    """
    changed = False
    for path, first in files.second_paths().items():
        content = last(read(first))
        if content and content != read(path):
            changed = True
            if not module.check_mode:
                files.install(path, content)
    return changed


def mend(module: AnsibleModule, path: Path, owner: str, group: str, mode: int) -> bool:
    """Bring owner and mode of a file, if it is there, to the wanted state; return whether they were (or would be)."""
    if not path.exists():
        return False
    changed = module.set_owner_if_different(str(path), owner, changed=False)
    changed = module.set_group_if_different(str(path), group, changed)
    return bool(module.set_mode_if_different(str(path), mode, changed))


def mend_modes(module: AnsibleModule, files: KeyFiles, others: Mapping[Path, int] | None = None) -> bool:
    """Do as ``mend`` for the files, and ``others`` of the same owner."""
    modes = {**files.modes(), **(others or {})}
    mended = [mend(module, path, files.owner, files.group, mode) for path, mode in modes.items()]
    return any(mended)


def remove(module: AnsibleModule, paths: Iterable[Path]) -> list[dict[str, str]]:
    """Remove those of the files that are there; return a diff for each."""
    diffs = []
    for path in paths:
        if path.exists():
            diffs.append(diff_of(path, "present\n", ""))
            if not module.check_mode:
                path.unlink()
    return diffs


def shown(files: KeyFiles) -> dict[str, str]:
    """Return what the action plugin judges: the request ('' without a key), certificates and list as they are.

    ``crl`` is missing where no list is wanted.

    Raises:
        KeyFileError: the key is unusable.
    """
    return {
        "request": files.request() if files.key.exists() else "",
        "certificate": read(files.certificate),
        "ca_certificate": read(files.ca),
        **({"crl": read(files.crl)} if files.crl else {}),
    }
