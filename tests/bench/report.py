# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark prints and leaves: a table for docs/benchmarks.md, and build/bench/NAME.json."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIRECTORY = Path(__file__).parents[2] / "build" / "bench"


def report(
    name: str, rows: Sequence[Sequence[str]], numbers: Mapping[str, float], versions: Sequence[str] = ()
) -> None:
    """Print a Markdown table (the first row is its head), and write the numbers.

    Args:
        name: of the benchmark, as in `make bench-NAME`.
        rows: cells of the table.
        numbers: what build/bench/NAME.json holds; seconds, or ratios.
        versions: of the programs that were measured.
    """
    table(rows)
    print(f"{machine()}; {'; '.join((f'Python {platform.python_version()}', *versions))}.")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps({key: round(value, 3) for key, value in numbers.items()}, indent=1) + "\n")
    print(f"{path.relative_to(Path.cwd())}: {json.dumps(json.loads(path.read_text()))}")


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table; the first row is its head."""
    head, *body = rows
    print("\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)) + "\n")


def machine() -> str:
    """Return processor, number of processors and how busy they were, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} at the end"
