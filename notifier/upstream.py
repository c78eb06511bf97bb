# SPDX-License-Identifier: GPL-3.0-or-later
"""One TLS connection to the zone's primary, kept open, for SOA questions and transfers (RFC 9103, RFC 8945)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
from ansible_collections.btmm.fleet.plugins.module_utils.tcp import acknowledge_at_once

from .errors import BadTransferError, UpstreamError
from .transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dns.message import Message
    from dns.name import Name

    from .content import Record

CONNECT_WITHIN_S = 5.0
MESSAGE_WITHIN_S = 10.0
_NO_IXFR = (dns.rcode.NOTIMP, dns.rcode.FORMERR)  # from who does not know it: AXFR is to be asked (RFC 1995 section 4)


@dataclass(frozen=True, slots=True)
class Primary:
    """Where the zone comes from: the name that the certificate must bear, its addresses, the owner CA, our key."""

    name: str
    addresses: tuple[str, ...]
    port: int
    ca: Path
    key: dns.tsig.Key

    def __str__(self) -> str:
        """Return the form that messages use."""
        return f"the primary {self.name} ({', '.join(self.addresses)} port {self.port})"


class Upstream:
    """Asks one thing at a time. Connects when it has to; a connection that broke is made anew once per question.

    `on_lost` may be set to what is to be told when the primary closes a connection between questions.
    """

    def __init__(self, primary: Primary) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self._primary = primary
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def async_serial(self, zone: Name) -> int:
        """Return the primary's serial.

        Raises:
            UpstreamError: it can't be had, in one sentence.
        """
        transfer = Transfer(zone, None)
        await self._async_ask(dns.message.make_query(zone, dns.rdatatype.SOA, flags=0), transfer)
        return transfer.serial

    async def async_transfer(self, zone: Name, serial: int | None) -> Transfer:
        """Return what is new since `serial`, or the whole zone when that is None.

        Raises:
            BadTransferError: the answer is no transfer.
            UpstreamError: there is no answer, in one sentence.
        """
        kind = dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR
        question = dns.message.make_query(zone, kind, flags=0)
        if serial is not None:
            # Only the serial counts here (RFC 1995 section 3).
            question.authority.append(dns.rrset.from_text(zone, 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
        transfer = Transfer(zone, serial)
        await self._async_ask(question, transfer)
        return transfer

    def move(self, primary: Primary) -> bool:
        """Ask another primary from the next question on; return whether it is another one."""
        moved = primary != self._primary
        if moved:
            self._primary = primary
            if not self._lock.locked():
                self.close()
        return moved

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()

    async def _async_ask(self, question: Message, transfer: Transfer) -> None:
        async with self._lock:
            kept = self._streams is not None
            try:
                await self._async_once(question, transfer)
            except (OSError, EOFError) as err:
                # The primary may close between questions (RFC 7766 section 6.2.3): nothing was lost by that.
                if not kept or transfer.serial >= 0:
                    raise self._lost(err) from err
                try:
                    await self._async_once(question, transfer)
                except (OSError, EOFError) as again:
                    raise self._lost(again) from again

    async def _async_once(self, question: Message, transfer: Transfer) -> None:
        try:
            reader, writer = self._streams = self._streams or await self._async_connect()
            question.use_tsig(self._primary.key)
            writer.write(question.to_wire(prepend_length=True))
            acknowledge_at_once(writer)
            last = None
            while not transfer.done:
                wire = await self._async_read(reader)
                acknowledge_at_once(writer)
                last = self._verified(wire, question, last)
                transfer.feed(_records(last))
                if question.question[0].rdtype == dns.rdatatype.SOA:
                    break
            if last is None or not last.had_tsig:
                # In between messages need no signature, the first and the last do (RFC 8945 section 5.3.1).
                raise BadTransferError(
                    f"{self._primary} sent an answer whose end is not signed: is it the right server?"
                )
        except BaseException:
            # Whatever was to come on it belongs to a question that nobody asks any more.
            self.close()
            raise

    async def _async_read(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(MESSAGE_WITHIN_S):
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))

    def _verified(self, wire: bytes, question: Message, last: Message | None) -> Message:
        """Return one message of the answer; `last` is the one before it, whose signature goes on in this one."""
        zone = question.question[0].name
        try:
            message = dns.message.from_wire(
                wire,
                keyring=self._primary.key,
                request_mac=question.mac,
                xfr=True,
                tsig_ctx=last.tsig_ctx if last else None,
                multi=True,
                one_rr_per_rrset=True,
            )
        except (dns.exception.DNSException, ValueError) as err:
            raise BadTransferError(
                f"{self._primary} sent an answer that can't be verified ({err or type(err).__name__}): "
                "see that clock and TSIG key are right on both sides"
            ) from err
        code = message.rcode()
        if code in _NO_IXFR and question.question[0].rdtype == dns.rdatatype.IXFR:
            raise BadTransferError(f"{self._primary} knows no IXFR ({dns.rcode.to_text(code)})")
        if code != dns.rcode.NOERROR:
            raise UpstreamError(
                f"{self._primary} does not give {zone} ({dns.rcode.to_text(code)}): "
                f"let the key {self._primary.key.name} transfer it there"
            )
        if message.id != question.id or not message.flags & dns.flags.QR or not (last or message.had_tsig):
            raise BadTransferError(
                f"{self._primary} sent no signed answer to the question for {zone}: is it the right server?"
            )
        if not message.answer:
            raise BadTransferError(f"{self._primary} sent an empty answer for {zone}: is the zone loaded there?")
        return message

    async def _async_connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        primary = self._primary
        try:
            context = ssl.create_default_context(cafile=str(primary.ca))
        except OSError as err:
            raise UpstreamError(
                f"the owner CA {primary.ca} can't be read ({err}): run the notifier role again"
            ) from err
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # RFC 9103 section 7.1
        context.set_alpn_protocols(["dot"])
        causes = []
        for address in primary.addresses:
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    return await self._async_open(address, context)
            except TimeoutError:
                causes.append("no answer")
            except ssl.SSLCertVerificationError as err:
                causes.append(f"its certificate is not trusted: {err.verify_message}")
            except OSError as err:
                causes.append(err.strerror or str(err))
        why = ", ".join(dict.fromkeys(causes))
        raise UpstreamError(f"{primary} can't be reached: {why}; see that it runs, and lets us in there")

    async def _async_open(
        self, address: str, context: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open streams, as asyncio.open_connection, which would not tell of the end before somebody reads."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = _Protocol(reader, self._ended)
        transport, _ = await loop.create_connection(
            lambda: protocol, address, self._primary.port, ssl=context, server_hostname=self._primary.name
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _ended(self, reader: asyncio.StreamReader) -> None:
        if self._streams is not None and self._streams[0] is reader and not self._lock.locked():
            self.close()
            self.on_lost()

    def _lost(self, err: Exception) -> UpstreamError:
        if isinstance(err, TimeoutError):
            return UpstreamError(f"{self._primary} does not answer: check that it runs")
        with contextlib.suppress(AttributeError):
            err = err.strerror or err  # type: ignore[attr-defined]
        return UpstreamError(f"{self._primary} closes the connection ({err or type(err).__name__}): check its log")


class _Protocol(asyncio.StreamReaderProtocol):
    def __init__(self, reader: asyncio.StreamReader, on_end: Callable[[asyncio.StreamReader], None]) -> None:
        super().__init__(reader)
        self._reader = reader
        self._on_end = on_end

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_end(self._reader)


def _records(message: Message) -> Iterator[Record]:
    for rrset in message.answer:
        if rrset.rdclass == dns.rdataclass.IN:
            for rdata in rrset:
                yield rrset.name, rrset.ttl, rdata
