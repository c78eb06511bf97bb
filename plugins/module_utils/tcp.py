# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemons do with their TCP connections besides reading and writing."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamWriter

MAX_UNSENT = 1 << 16  # octets that may wait for a reader


def acknowledge_at_once(writer: StreamWriter) -> None:
    """Keep the kernel from delaying acknowledgements (tcp(7), TCP_QUICKACK; it forgets the setting by itself).

    A server holds the second of two answers back until the first is acknowledged (Nagle), which else takes 40 ms.
    """
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def write_bounded(writer: StreamWriter, wire: bytes) -> bool:
    """Write, or abort a connection whose other end does not read what it is told; tell whether it is still there."""
    transport = writer.transport
    if transport.get_write_buffer_size() > MAX_UNSENT:
        transport.abort()
    if transport.is_closing():
        return False
    writer.write(wire)
    return True


def close(writer: StreamWriter) -> None:
    """Close gracefully; harmless when it is closed.

    Debian 12's asyncio (3.11.2) is not: a TLS connection that has ended takes itself apart when it is closed, and
    `abort` after that is an AttributeError.
    """
    if not writer.is_closing():
        writer.close()


def abort(writer: StreamWriter) -> None:
    """Close at once, without a word. On a path that is dead a graceful end takes asyncio's TLS 30 s."""
    with contextlib.suppress(AttributeError):  # see `close`
        writer.transport.abort()
