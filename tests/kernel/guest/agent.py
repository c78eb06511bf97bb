#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in the kernel under test what comes by its second serial line: a JSON object a line, answered by one."""

from __future__ import annotations

import json
import os
import subprocess
import tty
from pathlib import Path
from typing import Any


def answer(line: bytes) -> bytes:
    """Run the request's command, and return the line to answer; output is text."""
    request: dict[str, Any] = json.loads(line)
    try:
        done = subprocess.run(
            request["command"],
            input=request["input"].encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["timeout"],
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        code, output = None, late.stdout or b""
    else:
        code, output = done.returncode, done.stdout
    return json.dumps({"code": code, "output": output.decode(errors="replace")}).encode() + b"\n"


def main() -> None:
    """Serve until the other end says, by an empty line, that it needs no more."""
    os.environ.update(PATH="/usr/sbin:/usr/bin", LANG="C.UTF-8")
    with Path("/dev/ttyS1").open("rb+", buffering=0) as console:
        tty.setraw(console.fileno())
        console.write(b"{}\n")
        with os.fdopen(os.dup(console.fileno()), "rb") as requests:
            console.writelines(answer(line) for line in iter(requests.readline, b"\n"))


if __name__ == "__main__":
    main()
