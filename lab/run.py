# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the machine's own tools."""

import subprocess
from collections.abc import Iterable

from lab.errors import LabError


def run(argv: Iterable[str], stdin: bytes = b"", timeout: float = 60.0) -> str:
    """Run a command and return what it wrote to standard output.

    Args:
        argv: the command, found on PATH, without a shell.
        stdin: what it reads from standard input.
        timeout: seconds until it is killed.

    Raises:
        LabError: the command is missing, failed or took too long; the sentence ends with its complaint.
    """
    command = list(argv)
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed; install the packages of lab/apt-packages.txt") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` took longer than {timeout:g} s") from error
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise LabError(f"`{' '.join(command)}` failed: {' '.join(complaint)[-400:]}")
    return done.stdout.decode(errors="replace")
