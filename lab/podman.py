# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that boot systemd, with whatever options podman needs for that on this machine."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.paths import BUILD
from lab.run import run

# Explicit limits: without CAP_SYS_RESOURCE podman's defaults are above what may be set.
_ULIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000")
_BOOT = ("--systemd=always", "--privileged")
HYBRID = Path("/sys/fs/cgroup/unified/cgroup.procs")
FLEET_LABEL = "btmm.fleet"


@dataclass(frozen=True, slots=True)
class Options:
    """What podman needs on this machine: options before the subcommand, and options of run and create."""

    before: tuple[str, ...] = ()
    create: tuple[str, ...] = ()


def candidates() -> tuple[Options, ...]:
    """What to try, the plain way first.

    With both versions of cgroups mounted, crun refuses as soon as a controller has moved to version 2, which happens
    when the last container that used it is gone; runc does not. So there the plain way, even if it works now, is last.
    """
    runtimes: list[tuple[str, ...]] = [()]
    if shutil.which("runc"):
        runtimes.insert(0 if HYBRID.exists() else 1, ("--runtime", "runc"))
    return tuple(Options(before, create) for before in runtimes for create in ((), _ULIMITS))


def detect(image: str) -> Options:
    """Find the options that work here, by starting `true` in the image; remembered until a reboot or another podman.

    Raises:
        LabError: nothing worked; with the complaint of the last try.
    """
    program = shutil.which("podman")
    if not program:
        raise LabError("podman is not installed; install the packages of lab/apt-packages.txt")
    machine = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path(program).stat().st_mtime_ns}"
    cache = BUILD / "podman.json"
    known = _read(cache)
    if known.get("machine") == machine:
        return Options(tuple(known["before"]), tuple(known["create"]))
    complaint = ""
    for options in candidates():
        try:
            run(["podman", *options.before, "run", "--rm", "--network=none", *_BOOT, *options.create, image, "true"])
        except LabError as error:
            complaint = str(error)
            continue
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"machine": machine, **asdict(options)}, indent=2))
        return options
    raise LabError(f"podman cannot start a container on this machine; the last try was: {complaint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def create_command(options: Options, name: str, hostname: str, fleet: str, image: str) -> list[str]:
    """Command that makes a host's container; its network is the namespace of the same name."""
    return [
        *("podman", *options.before, "create", "--name", name, "--hostname", hostname),
        *("--label", f"{FLEET_LABEL}={fleet}", "--network", f"ns:/run/netns/{name}", "--dns=none", "--no-hosts"),
        *(*_BOOT, *options.create, image, "/lib/systemd/systemd"),
    ]


def containers(fleet: str) -> dict[str, str]:
    """State (`running`, `exited`, ...) of each container of the fleet, by container name."""
    listed = run(["podman", "ps", "--all", "--filter", f"label={FLEET_LABEL}={fleet}", "--format", "json"])
    return {entry["Names"][0]: str(entry["State"]) for entry in json.loads(listed or "[]") or []}
