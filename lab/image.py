# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian images: made by mmdebstrap, imported into podman, made again only when their definition changes."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lab.errors import LabError
from lab.paths import BUILD, LAB, lock
from lab.run import run
from lab.topology import Image

REPOSITORY = "localhost/btmm-lab"
SETUP = LAB / "image" / "setup.sh"
# Rehearsals need no manuals and translations: less to unpack.
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


def mmdebstrap(image: Image) -> list[str]:
    """Command that writes the image as a tar archive to its standard output."""
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
        f"--include={','.join(image.packages)}",
        f"--customize-hook={SETUP}",
        image.release,
        "-",
    ]


def tag(image: Image) -> str:
    """Name of the image; it changes whenever anything does that goes into the image."""
    recipe = "\0".join([*mmdebstrap(image), SETUP.read_text()]).replace(str(LAB), "")
    return f"{REPOSITORY}:{image.release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure(images: Iterable[Image], rebuild: bool = False) -> None:
    """Make the images that are not there yet (all of them with rebuild), side by side, and tell how it goes.

    Raises:
        LabError: an image could not be made; names the release, the reason and the log.
    """
    wanted = {tag(image): image for image in images}
    if not rebuild and not _missing(wanted):
        return
    with lock(BUILD / "image.lock"):
        missing = list(wanted) if rebuild else _missing(wanted)
        with ThreadPoolExecutor(len(missing) or 1) as pool:
            list(pool.map(lambda name: _build(name, wanted[name]), missing))


def remove() -> None:
    """Remove every image of the lab that no fleet uses, former definitions included."""
    used = run(["podman", "ps", "--all", "--format", "{{.Image}}"]).split()
    if unused := [name for name in _there() if name not in used]:
        run(["podman", "rmi", *unused])


def _missing(names: Iterable[str]) -> list[str]:
    there = _there()
    return [name for name in names if name not in there]


def _there() -> list[str]:
    return run(["podman", "images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY]).split()


def _build(name: str, image: Image) -> None:
    start = time.monotonic()
    log = BUILD / f"image-{image.release}.log"
    complaints: list[str] = []
    unfinished = f"{name}-unfinished"  # who is killed meanwhile leaves no image by the wanted name

    def say(text: str) -> None:
        sys.stderr.write(f"image {image.release}: {time.monotonic() - start:4.0f} s  {text}\n")

    say(f"building {name}")
    with log.open("w") as file:
        try:
            maker = subprocess.Popen(mmdebstrap(image), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except FileNotFoundError as error:
            raise LabError("mmdebstrap is not installed; install the packages of lab/apt-packages.txt") from error
        taker = subprocess.Popen(
            ["podman", "import", "--quiet", "--change", 'CMD ["/lib/systemd/systemd"]', "-", unfinished],
            stdin=maker.stdout,
            stdout=file,
            stderr=file,
        )
        assert maker.stdout is not None  # noqa: S101 - for the type checker: a pipe was asked for
        assert maker.stderr is not None  # noqa: S101
        maker.stdout.close()
        for raw in maker.stderr:
            line = raw.decode(errors="replace").strip()
            file.write(f"{line}\n")
            if line.startswith("I: "):
                if line.endswith("...") and "tempdir" not in line and "signal" not in line:
                    say(line.removeprefix("I: "))
            elif line.startswith("E: "):
                complaints.append(line.removeprefix("E: "))
        codes = maker.wait(), taker.wait()
    if any(codes):
        run(["podman", "rmi", "--force", "--ignore", unfinished])
        reason = complaints[0] if complaints else "podman import failed"
        raise LabError(f"image {image.release} could not be made: {reason} (whole story: {log})")
    run(["podman", "tag", unfinished, name])
    run(["podman", "untag", unfinished, unfinished])  # without a second word, of all its names
    say("done")
