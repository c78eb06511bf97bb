# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of telling a Push server who it is, by its TSIG key (RFC 8945) and not by a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.message
import dns.name
import dns.rdatatype
import dns.tsig

from .dso import CLIENT_BLOCK
from .update import read_response

if TYPE_CHECKING:
    import asyncio

    from dns.message import Message


def introduction(server_name: str, key: dns.tsig.Key) -> Message:
    """Return the signed question: the SOA of the name that the server's certificate bears.

    So what is told to one server is of no use to it at another one.
    """
    question = dns.message.make_query(dns.name.from_text(server_name), dns.rdatatype.SOA, flags=0, pad=CLIENT_BLOCK)
    question.use_tsig(key)
    return question


async def async_introduce(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], server_name: str, key: dns.tsig.Key, where: str
) -> None:
    """Tell a server who we are, as the first thing on a connection, and wait until it agrees.

    Args:
        streams: the connection.
        server_name: the name of the server that TLS has verified.
        key: this host's.
        where: how messages name the server.

    Raises:
        UpdateError: the server does not take the key, or its answer can't be believed; in one sentence.
        OSError: the connection broke.
        EOFError: the server closed it.
    """
    reader, writer = streams
    question = introduction(server_name, key)
    writer.write(question.to_wire(prepend_length=True))
    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    read_response(wire, question, where)
