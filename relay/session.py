# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's control connection: messages in bounds of size, rate and time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import (
    ALIVE_S,
    FROM_HOST,
    TOKEN_OCTETS,
    Message,
    Open,
    Ping,
    Pong,
    RendezvousError,
    decode,
    encode,
    message_length,
)
from ansible_collections.btmm.fleet.plugins.module_utils.tcp import write_bounded

from .limits import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

_LOGGER = logging.getLogger(__name__)

# Two signs of life may be lost.
SILENT_S = 2.5 * ALIVE_S
# After a restart of the relay a host resumes all its flows at once.
_RATE, _BURST = 10.0, 100.0

Outer = tuple["IPv4Address | IPv6Address", int]


class Session:
    """What the relay knows of a connected host. `seen`: its outer address and port as each observing port saw it."""

    def __init__(self, label: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.label = label
        self.token = secrets.token_hex(TOKEN_OCTETS)
        self.seen: dict[int, Outer] = {}
        self._reader = reader
        self._writer = writer
        self._bucket = Bucket(_RATE, _BURST)

    def observe(self, ports: tuple[int, ...], name: str, peer: str = "") -> None:
        """Forget what was seen of the host, and ask it to show itself at the observing ports."""
        self.seen.clear()
        self.send(Open(name, peer, self.token, ports))

    def send(self, message: Message) -> None:
        """Send a message, or end a connection that takes none."""
        if not self._writer.is_closing() and not write_bounded(self._writer, encode(message)):
            _LOGGER.warning("%s does not read what it is told: connection closed", self.label)

    def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()

    async def async_run(self, handle: Callable[[Session, Message], None]) -> str:
        """Hand messages to `handle` until the connection ends; return why it did, as a clause."""
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    message = await self._async_read()
                if not self._bucket.take():
                    return "it sends too many messages"
                if isinstance(message, Ping):
                    self.send(Pong())
                else:
                    handle(self, message)
        except TimeoutError:
            return "it is silent"
        except RendezvousError as error:
            return f"it sent what is no message: {error}"
        except (asyncio.IncompleteReadError, OSError):
            return "it closed the connection"

    async def _async_read(self) -> Message:
        length = message_length(await self._reader.readexactly(2))
        return decode(await self._reader.readexactly(length), FROM_HOST)
