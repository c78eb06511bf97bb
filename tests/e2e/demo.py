# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the proof of the main job, claim by claim: `python -m tests.e2e.demo`."""

from __future__ import annotations

import sys

from tests.e2e import click, proof
from tests.e2e.fleet import CommandFailed, Fleet


def main() -> int:
    """Prove every claim; returns 1 at the first that does not hold."""
    fleet = Fleet()
    for number, claim in enumerate((*proof.CLAIMS, *click.CLAIMS), start=1):
        try:
            evidence = claim(fleet)
        except (AssertionError, CommandFailed) as error:
            sys.stdout.write(f"\n{number:2}. DOES NOT HOLD: {error}\n")
            return 1
        seen = evidence.seen.replace("\n", "\n    ")
        sys.stdout.write(f"\n{number:2}. {evidence.claim}\n    {seen}\n")
        sys.stdout.flush()
    sys.stdout.write(
        "\nThe fleet stays up: lab/lab ssh macbook, then ssh imac.bob.members.example. `make demo-down` removes it.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
