# SPDX-License-Identifier: GPL-3.0-or-later
"""The process: signals, reloads, signs of life. What it keeps running is in `instance`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import sd_notify, tls
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import sweep

from . import config as config_module
from .digest import digest
from .errors import AlreadyRunningError, ConfigError
from .instance import Instance
from .places import LOCK_FILE
from .status import Status

if TYPE_CHECKING:
    from .places import Places

_LOGGER = logging.getLogger(__name__)

READY_AFTER_S = 10.0  # systemd waits for the first publication, but not for ever: names of peers work without it
STOP_WITHIN_S = 6.0


class Daemon:
    """Runs one instance at a time, a new one after each SIGHUP."""

    def __init__(self, places: Places) -> None:
        tls.small_buffers()
        self._places = places
        self._status = Status(places.run)
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._instance: Instance | None = None

    async def async_run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            AlreadyRunningError: another daemon runs.
        """
        lock = self._lock()
        for directory in (self._places.run, self._places.state, self._places.shared):
            sweep(directory)  # after a kill there may be a file without its name
        try:
            await self._async_run()
        finally:
            os.close(lock)

    def _lock(self) -> int:
        path = self._places.run / LOCK_FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunningError(f"another daemon holds {path}: one is enough for a zone") from None
        return descriptor

    def _sleep(self) -> None:
        if self._instance is not None:
            self._instance.sleep()

    def _wake(self) -> None:
        if self._instance is not None:
            self._instance.wake()

    async def _async_run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        # From `btmm sleep` and `btmm resume`, which systemd runs around a suspend.
        loop.add_signal_handler(signal.SIGUSR1, self._sleep)
        loop.add_signal_handler(signal.SIGUSR2, self._wake)
        alive = loop.create_task(sd_notify.async_watchdog())
        ready = loop.call_later(READY_AFTER_S, sd_notify.send, "READY=1")
        try:
            while not self._stop.is_set():
                self._reload.clear()
                await self._async_one(ready)
        finally:
            alive.cancel()
            ready.cancel()

    async def _async_one(self, ready: asyncio.TimerHandle) -> None:
        """Run one configuration until it should end."""
        self._status.set(config=digest(self._places.config), error=None, final=False, published=None)
        ended = [asyncio.create_task(self._stop.wait()), asyncio.create_task(self._reload.wait())]
        try:
            config = config_module.load(self._places.config)
        except ConfigError as err:
            _LOGGER.error("%s", err)  # noqa: TRY400 - one sentence for a person, no trace
            self._status.set(error=str(err), final=True)
            sd_notify.send("READY=1")
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            return
        instance = self._instance = Instance(config, self._status, self._places)
        try:
            await instance.async_start()
            settled = asyncio.create_task(instance.settled.wait())
            await asyncio.wait([settled, *ended], return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            sd_notify.send("READY=1")
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            settled.cancel()
        finally:
            self._instance = None
            if self._stop.is_set():
                sd_notify.send("STOPPING=1")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_WITHIN_S):
                        await instance.async_withdraw()
            await instance.async_stop()
            for task in ended:
                task.cancel()
