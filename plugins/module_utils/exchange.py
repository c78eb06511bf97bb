# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed messages to one DNS server and back, over one TCP or TLS connection (RFC 7766, RFC 7858)."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import dns.entropy
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.tsig

from .records import Record, is_shared
from .update import BadAnswer, NotAuthoritative, UpdateError, UpdateRefused, UpdateRejected, read_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from dns.name import Name
    from dns.rdatatype import RdataType

_MAX_MESSAGE = 65535  # octets, by the length prefix of TCP (RFC 1035 section 4.2.2)
_WINDOW = 8  # messages without answer: enough to keep both ends at work, less than BIND takes from one connection


class Unreachable(UpdateError):
    """No connection to the server, or none that can be trusted."""

    retryable = True


class Untrusted(Unreachable):
    """The server does not prove that it is the one that was meant: no retry mends that."""

    retryable = False


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
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def ask_raw(self, message: dns.message.Message) -> bytes:
        """Send one message, and return the answer's octets, which nobody has verified."""
        self._write(message)
        return self._read_message()

    def send(self, message: dns.message.Message) -> dns.message.Message:
        """Sign and send one message, and return the verified answer.

        Raises:
            UpdateError: one of its subclasses, in one sentence.
        """
        return read_response(self.ask_raw(message), message, str(self.server))

    def send_all(self, messages: Iterable[dns.message.Message]) -> Iterator[dns.message.Message | UpdateError]:
        """Send messages without waiting for each one's answer (RFC 7766 section 6.2.1.1); yield the answers in order.

        The server may work on them in any order, so they must not depend on each other.

        Yields:
            For each message its verified answer, or what the server did not like about it.

        Raises:
            Unreachable: the connection broke; what became of the messages without answer is not known.
        """
        pending: dict[int, dns.message.Message] = {}  # in the order of sending
        answered: dict[int, dns.message.Message | UpdateError] = {}
        coming = iter(messages)
        more = True
        while more or pending:
            while more and len(pending) < _WINDOW:
                message = next(coming, None)
                more = message is not None
                if message is not None:
                    while message.id in pending:
                        message.id = dns.entropy.random_16()
                    try:
                        self._write(message)
                    except UpdateRejected as error:  # too large: it was not sent
                        answered[message.id] = error
                    pending[message.id] = message
            while pending and (first := next(iter(pending))) in answered:
                del pending[first]
                yield answered.pop(first)
            if pending and (not more or len(pending) == _WINDOW):
                wire = self._read_message()
                number = int.from_bytes(wire[:2], "big")
                if number not in pending:
                    raise BadAnswer(f"{self.server} sent an answer to another question")
                try:
                    answered[number] = read_response(wire, pending[number], str(self.server))
                except UpdateError as error:
                    answered[number] = error

    def lookup(self, name: Name, rdtype: RdataType) -> list[Record]:
        """Return the records of one RRset at the primary; none when there is none."""
        return self.lookups([(name, rdtype)])[0]

    def lookups(self, sets: Sequence[tuple[Name, RdataType]]) -> list[list[Record]]:
        """Return the records of several RRsets, in their order; all questions are on their way at once.

        Raises:
            UpdateError: for the first question that was not answered.
        """
        questions = (dns.message.make_query(name, rdtype, flags=0) for name, rdtype in sets)
        found = []
        for (name, rdtype), response in zip(sets, self.send_all(questions), strict=True):
            if isinstance(response, UpdateError):
                raise response
            found.append(
                [
                    Record(name, rrset.ttl, rdata, is_shared(name, rdtype))
                    for rrset in response.answer
                    if rrset.name == name and rrset.rdtype == rdtype
                    for rdata in rrset
                ]
            )
        return found

    def zone_of(self, name: Name) -> Name:
        """Return the zone that `name` is in, at this server: the owner of the SOA it answers with.

        The zone's apex answers with its SOA, any other name with the SOA in the authority section (RFC 2308 section 3).

        Raises:
            NotAuthoritative: the server has no zone with this name.
            UpdateError: one of its other subclasses, in one sentence.
        """
        hint = f"{self.server} has no zone with '{name}': give the zone, or its primary as server"
        try:
            response = self.send(dns.message.make_query(name, dns.rdatatype.SOA, flags=0))
        except UpdateRefused as error:
            raise NotAuthoritative(f"{hint} (REFUSED: or this key may not ask)") from error
        owners = [s.name for s in (*response.answer, *response.authority) if s.rdtype == dns.rdatatype.SOA]
        zone = next((owner for owner in owners if name.is_subdomain(owner)), None)
        if zone is None or zone == dns.name.root:
            raise NotAuthoritative(hint)
        return zone

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
            if ends == 0 and context is None:
                part = read_response(wire, question, str(self.server), stream=True)
            else:
                with self._errors():
                    part = dns.message.from_wire(
                        wire, keyring=self.key, request_mac=question.mac, xfr=True, tsig_ctx=context, multi=True
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
        octets = bytearray()
        while len(octets) < count:
            with self._errors():
                more = self._socket.recv(count - len(octets))
            if not more:
                raise Unreachable(f"{self.server} closed the connection: look into its log")
            octets += more
        return bytes(octets)

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
        raise Untrusted(f"{server} has no TLS that can be trusted ({error}): check ca and hostname") from error
