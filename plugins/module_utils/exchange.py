# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed messages to one DNS server and back, over one TCP or TLS connection (RFC 7766, RFC 7858)."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import dns.exception
import dns.message
import dns.rdatatype
import dns.tsig

from .records import Record, is_shared
from .update import BadAnswer, UpdateError, UpdateRejected, read_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from dns.name import Name


_MAX_MESSAGE = 65535


class Unreachable(UpdateError):
    """No connection to the server, or none that can be trusted."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is; with `tls`, its certificate must be of `ca` (a PEM file) and bear `hostname`."""

    address: str
    port: int = 53
    tls: bool = False
    ca: str | None = None
    hostname: str | None = None
    timeout_s: float = 10.0

    def __str__(self) -> str:
        """Return the form that error messages use."""
        return f"{self.hostname or self.address} port {self.port}"


class Exchange:
    """A connection to one server; all messages are signed with one key (None: none is)."""

    def __init__(self, server: Server, key: dns.tsig.Key | None) -> None:
        self.server = server
        self.key = key
        self._socket = _connect(server)

    def __enter__(self) -> Self:
        """Return the open connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, message: dns.message.Message) -> dns.message.Message:
        """Sign and send one message, and return the verified answer.

        Raises:
            UpdateError: one of its subclasses, in one sentence.
        """
        self._write(message)
        return read_response(self._read_message(), message, str(self.server))

    def lookup(self, name: Name, rdtype: dns.rdatatype.RdataType) -> list[Record]:
        """Return the records of one RRset at the primary; none when there is none."""
        question = dns.message.make_query(name, rdtype, flags=0)
        response = self.send(question)
        return [
            Record(name, rrset.ttl, rdata, is_shared(name, rdtype))
            for rrset in response.answer
            if rrset.name == name and rrset.rdtype == rdtype
            for rdata in rrset
        ]

    def transfer(self, zone: Name) -> list[Record]:
        """Return all records of a zone (AXFR, RFC 5936), the SOA once.

        Raises:
            UpdateError: one of its subclasses, in one sentence.
        """
        question = dns.message.make_query(zone, dns.rdatatype.AXFR, flags=0)
        self._write(question)
        records: list[Record] = []
        context, ends = None, 0
        while ends < 2:
            wire = self._read_message()
            if context is None:
                read_response(wire, question, str(self.server))
            with self._errors():
                # The second and later messages are signed as a stream (RFC 8945 section 5.3.1).
                part = dns.message.from_wire(
                    wire,
                    keyring=self.key,
                    request_mac=question.mac,
                    xfr=True,
                    tsig_ctx=context,
                    multi=True,
                )
            context = part.tsig_ctx
            for rrset in part.answer:
                for rdata in rrset:
                    ends += rrset.rdtype == dns.rdatatype.SOA
                    if ends < 2:
                        shared = is_shared(rrset.name, rrset.rdtype)
                        records.append(Record(rrset.name, rrset.ttl, rdata, shared))
            if not records:
                raise BadAnswer(f"{self.server} sent an empty transfer of {zone}: is the zone loaded there?")
        return records

    def _write(self, message: dns.message.Message) -> None:
        if self.key is not None:
            message.use_tsig(self.key)
        with self._errors():
            wire = message.to_wire(max_size=_MAX_MESSAGE)
            self._socket.sendall(len(wire).to_bytes(2, "big") + wire)

    def _read_message(self) -> bytes:
        return self._read(int.from_bytes(self._read(2), "big"))

    def _read(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            with self._errors():
                more = self._socket.recv(count - len(octets))
            if not more:
                raise Unreachable(f"{self.server} closed the connection: look into its log")
            octets += more
        return octets

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what sockets and the codec raise into the typed errors."""
        try:
            yield
        except TimeoutError as error:
            raise Unreachable(f"{self.server} did not answer within {self.server.timeout_s:g} s") from error
        except OSError as error:
            raise Unreachable(f"{self.server}: {error.strerror or error}") from error
        except dns.exception.TooBig as error:
            raise UpdateRejected("the message has more than 65535 octets: split the record sets") from error
        except dns.exception.DNSException as error:
            raise BadAnswer(f"{self.server} sent an answer that cannot be verified: {error}") from error


def _connect(server: Server) -> socket.socket:
    try:
        plain = socket.create_connection((server.address, server.port), timeout=server.timeout_s)
    except OSError as error:
        raise Unreachable(f"{server} cannot be reached ({error}): check address, route and firewall") from error
    if not server.tls:
        return plain
    try:
        context = ssl.create_default_context(cafile=server.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325 section 3.1.1
        context.set_alpn_protocols(["dot"])  # RFC 9103 section 7.1; BIND transfers no zone without
        return context.wrap_socket(plain, server_hostname=server.hostname or server.address)
    except OSError as error:  # ssl.SSLError is one, and so is a CA file that cannot be read
        plain.close()
        raise Unreachable(f"{server} has no TLS that can be trusted ({error}): check ca and hostname") from error
