# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemons tell the kernel about their TCP connections."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamWriter


def acknowledge_at_once(writer: StreamWriter) -> None:
    """Keep the kernel from delaying acknowledgements (tcp(7), TCP_QUICKACK; it forgets the setting by itself).

    A server holds the second of two answers back until the first is acknowledged (Nagle), which else takes 40 ms.
    """
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
