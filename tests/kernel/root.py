# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk that the kernel boots from: the rehearsal fleet's Debian 12, with a kernel's modules."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import image, topology
from lab.paths import LAB, lock

GUEST = Path(__file__).parent / "guest"
BUILD = LAB.parent / "build" / "kernel"
LINUX = BUILD / "linux"  # what the Makefile unpacked from Debian's package
SIZE = "1500M"  # sparse


def kernel() -> Path:
    """Return the kernel's file."""
    (found,) = (LINUX / "boot").glob("vmlinuz-*")
    return found


def disk() -> Path:
    """Return the disk's image; it is made again only when something that goes into it has changed."""
    name = image.tag(topology.load(LAB / "topology.toml").host("imac").image)
    recipe = [name, kernel().name, *(path.read_text() for path in sorted(GUEST.iterdir()))]
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()
    wanted = BUILD / f"root-{digest[:12]}.img"
    with lock(BUILD / "root.lock"):
        if not wanted.exists():
            for former in BUILD.glob("root-*.img"):
                former.unlink()
            _make(name, wanted)
    return wanted


def _make(name: str, target: Path) -> None:
    with TemporaryDirectory(dir=BUILD) as folder:
        upper, merged, unfinished = (Path(folder) / part for part in ("upper", "merged", "root.img"))
        (upper / "mnt" / "guest").mkdir(parents=True)
        for path in GUEST.iterdir():
            file = upper / "mnt" / "guest" / path.name
            file.write_text(path.read_text())
            file.chmod(0o755)
        merged.mkdir()
        mounted = _run("podman", "image", "mount", name).strip()
        try:
            _run("mount", "-t", "overlay", "-o", f"lowerdir={upper}:{LINUX}:{mounted}", "overlay", str(merged))
            try:
                _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(merged), str(unfinished), SIZE)
            finally:
                _run("umount", str(merged))
        finally:
            _run("podman", "image", "unmount", name)
        unfinished.rename(target)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
