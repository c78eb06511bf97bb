# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to a server that dies under its connections, as after a move or a NAT's restart."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.named import ADDRESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class DeadPath:
    """Passes on what each connection carries until `async_die`; those that come later live."""

    def __init__(self, port: int) -> None:
        self.port = 0  # where it listens
        self.came = 0  # connections so far
        self._server_port = port
        self._pumps: set[asyncio.Task[None]] = set()
        self._readers: list[asyncio.StreamReader] = []  # from who connects
        self._writers: list[asyncio.StreamWriter] = []

    async def async_die(self) -> None:
        """From now on the connections carry nothing, and neither end is told."""
        pumps = tuple(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def async_left(self) -> None:
        """Return when who connected has closed all connections that died."""
        for reader in self._readers:
            with contextlib.suppress(OSError):
                while await reader.read(1 << 16):
                    pass

    async def async_serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self.came += 1
        onward = await asyncio.open_connection(ADDRESS, self._server_port)
        self._readers.append(reader)
        self._writers += writer, onward[1]
        for source, target in ((reader, onward[1]), (onward[0], writer)):
            pump = asyncio.create_task(self._async_pump(source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def async_close(self) -> None:
        """End all."""
        await self.async_die()
        for writer in self._writers:
            writer.transport.abort()

    async def _async_pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                target.write(data)
            target.close()


@contextlib.asynccontextmanager
async def dead_path(port: int) -> AsyncIterator[DeadPath]:
    """Yield a way to the server at this port."""
    path = DeadPath(port)
    server = await asyncio.start_server(path.async_serve, ADDRESS, 0)
    path.port = server.sockets[0].getsockname()[1]
    try:
        yield path
    finally:
        server.close()
        await path.async_close()
