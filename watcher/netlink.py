# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells when links, addresses or routes change (rtnetlink(7)), without looking at what changed."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR = 0x10
_RTMGRP_IPV4_ROUTE = 0x40
_RTMGRP_IPV6_IFADDR = 0x100
_RTMGRP_IPV6_ROUTE = 0x400
_GROUPS = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_IFADDR | _RTMGRP_IPV6_ROUTE

DEBOUNCE_S = 0.1  # a DHCP client or a re-plug makes a burst of messages


class Watch:
    """Calls `glance` at each message, and `changed` once, 100 ms after the first message of a burst."""

    def __init__(self, changed: Callable[[], None], glance: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._glance = glance
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._sock.bind((0, _GROUPS))
        self._loop.add_reader(self._sock.fileno(), self._drain)

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        if self._timer is not None:
            self._timer.cancel()

    def _drain(self) -> None:
        # ENOBUFS says that messages were lost: that, too, only means that something changed.
        while True:
            try:
                os.read(self._sock.fileno(), 65536)
            except BlockingIOError:
                break
            except OSError:
                continue
        if self._timer is None:
            self._timer = self._loop.call_later(DEBOUNCE_S, self._fire)
        self._glance()

    def _fire(self) -> None:
        self._timer = None
        self._changed()
