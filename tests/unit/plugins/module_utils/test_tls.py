# SPDX-License-Identifier: GPL-3.0-or-later
"""What TLS costs a daemon: asyncio's private name for the size of its buffers is still the one that counts."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.tls import server_context, small_buffers

from tests.certificates import Owner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LONG = b"x" * 100_000  # several records


async def test_a_connection_has_a_buffer_of_one_record_and_carries_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", sslproto.SSLProtocol.max_size)  # as before, afterwards
    small_buffers()
    owner = Owner(tmp_path)
    shown = owner.server()

    async def async_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(LONG)))
        writer.close()

    tls = server_context(shown.certificate, shown.key, owner.ca, ["dot"], everybody=True)
    server = await asyncio.start_server(async_echo, "127.0.0.1", 0, ssl=tls)
    client = ssl.create_default_context(cafile=str(owner.ca))
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname="zone.bob.members.example"
    )
    assert len(writer.transport._ssl_protocol._ssl_buffer) == 1 << 14  # type: ignore[attr-defined]
    writer.write(LONG)
    assert await reader.readexactly(len(LONG)) == LONG
    writer.close()
    server.close()
