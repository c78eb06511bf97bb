# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop that dies takes the daemon with it; one that is stopped does not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from ansible_collections.btmm.fleet.plugins.module_utils import background

PROGRAM = """
import asyncio
from ansible_collections.btmm.fleet.plugins.module_utils import background

async def loop():
    await asyncio.sleep(0.01)
    {last}

async def main():
    task = background.start(loop())
    {then}
    await asyncio.sleep(0.2)
    print("goes on")

asyncio.run(main())
"""


async def run(last: str, then: str = "pass") -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM.format(last=last, then=then)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


async def test_an_error_that_nobody_foresaw_ends_the_daemon_and_is_told() -> None:
    done = await run("raise KeyError('surprise')")
    assert (done.returncode, done.stdout) == (os.EX_SOFTWARE, "")
    assert "please report it" in done.stderr
    assert "KeyError: 'surprise'" in done.stderr


async def test_a_loop_that_is_stopped_or_ends_does_not() -> None:
    for last, then in (("await asyncio.sleep(60)", "task.cancel()"), ("pass", "pass")):
        done = await run(last, then)
        assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr


async def test_work_is_done_once_at_a_time_and_once_more_for_all_that_came_meanwhile() -> None:
    begun, going_on = 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        await going_on.wait()

    repeated = background.Repeated(work)
    for _ in range(3):
        repeated.again()
        await asyncio.sleep(0)
    assert begun == 1
    going_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == 2
    going_on.clear()
    repeated.again()
    await asyncio.sleep(0)
    repeated.again()
    await repeated.async_stop()
    going_on.set()
    await asyncio.sleep(0)
    assert begun == 3
