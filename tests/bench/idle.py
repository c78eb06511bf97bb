# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program takes while nothing happens."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from tests.e2e.fleet import Fleet

# On a host: memory, processor time and voluntary context switches of the processes that match, all threads of them.
_SAMPLE = """
import json, os, pathlib, subprocess, sys
found = {"rss_kib": 0, "cpu_s": 0.0, "wakeups": 0}
for pid in subprocess.run(["pgrep", "--full", sys.argv[1]], capture_output=True, text=True).stdout.split():
    if int(pid) == os.getpid():
        continue
    process = pathlib.Path("/proc", pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    times = (process / "stat").read_text().rpartition(")")[2].split()
    found["rss_kib"] += int(status["VmRSS"].split()[0])
    found["cpu_s"] += (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    for task in process.glob("task/*/status"):
        for line in task.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found["wakeups"] += int(line.split()[1])
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Rest:
    """Of one program: resident memory in MiB, share of a processor in per cent, wake-ups a second."""

    rss_mib: float
    cpu_percent: float
    wakeups_s: float


def at_rest(fleet: Fleet, host: str, programs: tuple[str, ...], seconds: float) -> dict[str, Rest]:
    """Watch the programs of a host for some time."""
    before = {program: _sample(fleet, host, program) for program in programs}
    begin = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begin
    found = {}
    for program, first in before.items():
        last = _sample(fleet, host, program)
        assert last["rss_kib"], f"{program} does not run on {host}"
        found[program] = Rest(
            last["rss_kib"] / 1024,
            100 * (last["cpu_s"] - first["cpu_s"]) / passed,
            (last["wakeups"] - first["wakeups"]) / passed,
        )
    return found


def processor_s(fleet: Fleet, host: str, program: str) -> float:
    """Return how many seconds of a processor a program has taken so far."""
    return _sample(fleet, host, program)["cpu_s"]


def resident_mib(fleet: Fleet, host: str, program: str) -> float:
    """Return a program's resident memory."""
    return _sample(fleet, host, program)["rss_kib"] / 1024


def _sample(fleet: Fleet, host: str, program: str) -> dict[str, float]:
    pattern = f"^([^ ]*python3 .*/)?([^ ]*/)?{program}"
    sample: dict[str, float] = json.loads(fleet.on(host, "python3", "-c", _SAMPLE, pattern))
    return sample
