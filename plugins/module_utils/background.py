# SPDX-License-Identifier: GPL-3.0-or-later
"""Loops that go on for as long as the daemon does, and that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

_LOGGER = logging.getLogger(__name__)


def start(loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a loop until it is cancelled. Should an error that nobody foresaw end it, the daemon ends, too."""
    task = asyncio.create_task(loop)
    task.add_done_callback(_judge)
    return task


def _judge(task: asyncio.Task[None]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    _LOGGER.critical("an error that nobody foresaw, please report it; the daemon begins anew", exc_info=error)
    # As by a crash, and not as by an order to stop, at which a watcher's host would leave the zone: systemd starts the
    # daemon again, and tunnels are charon's. Without this one loop it would look alive, and be out of date for ever.
    logging.shutdown()
    os._exit(os.EX_SOFTWARE)
