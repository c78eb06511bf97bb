# SPDX-License-Identifier: GPL-3.0-or-later
"""Loops that go on for as long as the daemon does, and that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_LOGGER = logging.getLogger(__name__)


def start(loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a loop until it is cancelled. Should an error that nobody foresaw end it, the daemon ends, too."""
    task = asyncio.create_task(loop)
    task.add_done_callback(_judge)
    return task


class Repeated:
    """Work that is done after each change, once at a time, and once more for all changes that come meanwhile.

    Args:
        work: does it once.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._wanted = False
        self._running: asyncio.Task[None] | None = None

    def again(self) -> None:
        """Have it done; by itself the work may say so, too."""
        self._wanted = True
        if self._running is None or self._running.done():
            self._running = start(self._async_run())

    def stop(self) -> None:
        """Do it no more, and end what is being done."""
        self._wanted = False
        if self._running is not None:
            self._running.cancel()

    async def async_stop(self) -> None:
        """Stop, and wait until it has."""
        self.stop()
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _async_run(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._work()


def _judge(task: asyncio.Task[None]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    _LOGGER.critical("an error that nobody foresaw, please report it; the daemon begins anew", exc_info=error)
    # As by a crash, and not as by an order to stop, at which a watcher's host would leave the zone: systemd starts the
    # daemon again, and tunnels are charon's. Without this one loop it would look alive, and be out of date for ever.
    logging.shutdown()
    os._exit(os.EX_SOFTWARE)
