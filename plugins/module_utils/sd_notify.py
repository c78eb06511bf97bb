# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells systemd how the service is (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import socket


def send(text: str) -> None:
    """Send `text` ("READY=1", "STATUS=...") to the manager; without one, do nothing."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)


def watchdog_interval() -> float | None:
    """Seconds between signs of life: half of what the manager waits, or None when it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdigit() else None


async def async_watchdog() -> None:
    """Tell the watchdog that the loop turns, for as long as it does; return at once when nobody waits for it."""
    interval = watchdog_interval()
    while interval is not None:
        send("WATCHDOG=1")
        await asyncio.sleep(interval)
