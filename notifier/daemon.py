# SPDX-License-Identifier: GPL-3.0-or-later
"""The process: signals, reloads, signs of life. One for all zones of a host."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background, sd_notify

from . import config as config_module
from .access import Access
from .config import CONFIG_DIR
from .errors import ConfigError
from .llq_server import LlqServer, LlqTlsServer
from .mirror import Mirror
from .notified import Listener
from .push_server import PushServer
from .status import RUN_DIR, Status

if TYPE_CHECKING:
    from pathlib import Path

    import dns.tsig
    from dns.name import Name

    from .config import Config
    from .server import Service

_LOGGER = logging.getLogger(__name__)

READY_AFTER_S = 10.0  # systemd waits for the zones, but not for ever: a primary that is away comes back
# The servers, each with the field of `Ports` that is its own.
SERVICES: tuple[tuple[str, type[Service]], ...] = (
    ("push", PushServer),
    ("llq_tls", LlqTlsServer),
    ("llq", LlqServer),
)


class Daemon:
    """Runs until it is told to stop."""

    def __init__(self, config_dir: Path = CONFIG_DIR, run_dir: Path = RUN_DIR) -> None:
        self._config_dir = config_dir
        self._run_dir = run_dir
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def async_run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            ConfigError: the daemon can't begin with what it is told.
            OSError: a port is taken, or an address is not this host's.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        config, digest = config_module.load(self._config_dir), config_module.digest(self._config_dir)
        process = _Process(config, self._run_dir)
        tasks = [background.start(sd_notify.async_watchdog()), background.start(process.status.async_keep())]
        try:
            await process.async_start(config)
            process.status.config = digest
            await self._async_until_loaded(process)
            process.status.write()
            sd_notify.send("READY=1")
            while await self._async_reloaded():
                self._take_again(process)
        finally:
            sd_notify.send("STOPPING=1")
            for task in tasks:
                task.cancel()
            await process.async_stop()

    async def _async_until_loaded(self, process: _Process) -> None:
        if not await _async_first(process.loaded, self._stop, timeout=READY_AFTER_S):
            _LOGGER.warning("not all zones are here after %g s: they are fetched as soon as they can be", READY_AFTER_S)

    async def _async_reloaded(self) -> bool:
        """Wait for a signal, and return whether it is the one to reload."""
        await _async_first(self._stop, self._reload)
        self._reload.clear()
        return not self._stop.is_set()

    def _take_again(self, process: _Process) -> None:
        """Read the configuration again; one that is wrong is told, and changes nothing."""
        error = None
        try:
            digest = config_module.digest(self._config_dir)
            error = process.take(config_module.load(self._config_dir))
        except (ConfigError, OSError) as err:
            error = f"what was read before goes on, since {err}"
        else:
            process.status.config = digest
        if error:
            _LOGGER.error("%s", error)
        else:
            _LOGGER.info("read its configuration and keys again")
        process.status.error = error
        process.status.changed()


class _Process:
    """What runs: the mirror, its ear, and the servers."""

    def __init__(self, config: Config, run_dir: Path) -> None:
        self._config = config
        self._access = Access()
        self._mirror = Mirror(self._changed)
        self.loaded = asyncio.Event()  # every zone was had once
        self._services = [
            (kind(self._mirror, self._access, config.limits), getattr(config.ports, field))
            for field, kind in SERVICES
            if getattr(config.ports, field)
        ]
        self._listeners = [
            Listener(self._notify_keys, self._notify_from, self._mirror.notice) for _ in config.notify_addresses
        ]
        self.status = Status(run_dir, self._mirror, self._listeners, [service for service, _ in self._services])

    def _changed(self) -> None:
        self.status.changed()
        states = map(self._mirror.state, self._mirror.zones)
        if all(state and state.serial is not None for state in states):
            self.loaded.set()

    async def async_start(self, config: Config) -> None:
        self.take(config)
        for listener, address in zip(self._listeners, config.notify_addresses, strict=True):
            await listener.async_start(address, config.ports.notify)
        for service, port in self._services:
            await service.async_start(config.addresses, port)

    def take(self, config: Config) -> str | None:
        """Go on with another configuration; return what only a restart can change, as a sentence."""
        if config.served:
            self._access.update([served.domain for served in config.served])
        same = replace(config, served=self._config.served) == self._config
        self._config = replace(self._config, served=config.served)
        self._mirror.keep({zone: served.primary for served in config.served for zone in served.domain.zones})
        for service, _ in self._services:
            service.recheck()
        return None if same else "ports, addresses or limits are others now: restart btmm-notifier"

    async def async_stop(self) -> None:
        for listener in self._listeners:
            listener.stop()
        for service, _ in self._services:
            await service.async_stop()
        await self._mirror.async_stop()

    def _notify_keys(self) -> dict[Name, dns.tsig.Key]:
        return {key.name: key for served in self._config.served for key in served.notify_keys}

    def _notify_from(self) -> frozenset[str]:
        return frozenset().union(*(served.notify_from for served in self._config.served))


async def _async_first(*events: asyncio.Event, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - asyncio.wait's
    """Wait until one of the events is set; return whether one was within the time."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
