# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a module of ours as a process of its own: what it loads is gone from memory when it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

# What Python needs to find our packages in the child: the zipapp, or the checkout.
_HOME = Path(__file__).parents[1]


async def async_spawn(module: str, *arguments: str, limit: int) -> asyncio.subprocess.Process:
    """Start `python3 -m MODULE`, to be spoken with by lines of at most `limit` octets.

    Raises:
        OSError: it can't be started.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # The zipapp has all in one place; in a checkout the library is elsewhere.
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(_HOME), *sys.path))},
        limit=limit,
    )
