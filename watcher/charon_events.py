# SPDX-License-Identifier: GPL-3.0-or-later
"""Hears from charon whenever a tunnel came or went: a vici connection of its own, in a thread, since vici blocks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING

from . import charon
from .errors import TunnelError

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)

RETRY_S = 5.0


class Events:
    """Calls `changed` on the loop when it begins, and whenever a tunnel came or went, or charon itself did."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._ended = threading.Event()
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure = ""

    def start(self) -> None:
        """Listen, until `stop`."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="charon events", daemon=True).start()

    def stop(self) -> None:
        """End the thread, whatever it waits for; nothing is told any more."""
        self._ended.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with charon.session(timeout_s=None) as session:
                    self._socket = session.transport.socket
                    # `stop` sets the one and then looks at the other.
                    if self._ended.is_set():
                        return
                    self._tell()
                    for _ in session.listen(["ike-updown", "child-updown"]):
                        self._failure = ""
                        self._tell()
            except TunnelError:
                self._tell()
            except Exception as err:
                # The boundary of a thread, which nobody would miss. What charon says that vici has no word for, or no
                # message that it can read: told once, and the look every few seconds (`Tunnels`) has to do.
                if self._failure != repr(err):
                    self._failure = repr(err)
                    _LOGGER.exception("charon's events can't be read; the next try is in %g s", RETRY_S)
                self._tell()
            self._ended.wait(RETRY_S)

    def _tell(self) -> None:
        if not self._ended.is_set() and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                self._loop.call_soon_threadsafe(self._tell_on_loop)

    def _tell_on_loop(self) -> None:
        if not self._ended.is_set():
            self._changed()
