# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes NOTIFY from the primary (RFC 1996), by UDP and TCP, and wakes the zone that it names.

A NOTIFY changes nothing by itself, it only makes us ask the primary: so an unsigned one from the primary's address is
good enough for that, at a bounded rate. What comes from elsewhere is not even parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig

from .errors import BadNotifyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dns.message import Message
    from dns.name import Name
    from dns.rdtypes.ANY.SOA import SOA

MAX_CONNECTIONS = 16
IDLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One good NOTIFY: `serial` is the hint that it may carry, which only a signature makes worth something."""

    zone: Name
    serial: int | None
    signed: bool
    message: Message


def parse(wire: bytes, keyring: Mapping[Name, dns.tsig.Key]) -> Notice:
    """Read one message.

    Raises:
        BadNotifyError: it is malformed, no NOTIFY, or its signature is wrong.
    """
    try:
        message = dns.message.from_wire(wire, keyring=dict(keyring))
    except (dns.exception.DNSException, ValueError) as err:
        raise BadNotifyError(f"not a message that can be verified: {err or type(err).__name__}") from err
    if message.opcode() != dns.opcode.NOTIFY or message.flags & dns.flags.QR or len(message.question) != 1:
        raise BadNotifyError("not a NOTIFY")
    question = message.question[0]
    if question.rdtype != dns.rdatatype.SOA or question.rdclass != dns.rdataclass.IN:
        raise BadNotifyError("not a NOTIFY of an SOA")
    serials = [
        cast("SOA", rdata).serial
        for rrset in message.answer
        if rrset.name == question.name and rrset.rdtype == dns.rdatatype.SOA
        for rdata in rrset
    ]
    return Notice(question.name, serials[0] if serials else None, message.had_tsig, message)


class Listener:
    """The UDP and the TCP side of one address and port."""

    def __init__(
        self,
        keyring: Callable[[], Mapping[Name, dns.tsig.Key]],
        sources: Callable[[], Collection[str]],
        on_notice: Callable[[Notice], bool],
    ) -> None:
        """Remember who to believe and who to tell.

        Args:
            keyring: the keys that a NOTIFY may be signed with.
            sources: the addresses that one may come from.
            on_notice: told of each; returns whether the zone is one of ours.
        """
        self._keyring = keyring
        self._sources = sources
        self._on_notice = on_notice
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.ignored = 0

    async def async_start(self, address: str, port: int) -> None:
        """Listen; with port 0, on a free one, which `port` tells.

        Raises:
            OSError: the port is taken, or the address not ours.
        """
        self._server = await asyncio.start_server(self._connected, address, port)
        self.port = self._server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._answer), local_addr=(address, self.port)
        )

    def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()

    def _answer(self, wire: bytes, source: str) -> bytes | None:
        """Take one message, and return what to say to it; nothing, when it is none of our business."""
        if source not in self._sources():
            self.ignored += 1
            return None
        try:
            notice = parse(wire, self._keyring())
        except BadNotifyError:
            self.ignored += 1
            return None
        answer = dns.message.make_response(notice.message)
        answer.flags |= dns.flags.AA
        if not self._on_notice(notice):
            answer.flags &= ~dns.flags.AA
            answer.set_rcode(dns.rcode.NOTAUTH)
        return answer.to_wire()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if peer is None or peer[0] not in self._sources() or len(self._connections) >= MAX_CONNECTIONS:
            self.ignored += 1
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._async_serve(reader, writer, peer[0]))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _async_serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(writer):
            while True:
                async with asyncio.timeout(IDLE_S):
                    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                answer = self._answer(wire, source)
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                async with asyncio.timeout(IDLE_S):
                    await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes, str], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = self._answer(data, addr[0])
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)
