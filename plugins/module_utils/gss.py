# SPDX-License-Identifier: GPL-3.0-or-later
"""GSS-TSIG (RFC 3645): a key for signing that is negotiated with Kerberos tickets instead of being shared."""

from __future__ import annotations

import ipaddress
import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.rdtypes.ANY.TKEY import TKEY

from .update import BadAnswer, UpdateError, check_response

if TYPE_CHECKING:
    from .exchange import Exchange

ALGORITHM = "gss-tsig"
_NEGOTIATION = 3  # the TKEY mode of the GSS-API (RFC 2930 section 2.5)
_LIFETIME_S = 3600
_ROUNDS = 8  # Kerberos needs one or two; an endless negotiation must end


class GssUnusable(UpdateError):
    """There is no GSS-API here, or it has no ticket for the server."""


class Context(Protocol):
    """One end of a security context; dnspython signs and verifies with it."""

    @property
    def complete(self) -> bool:
        """Whether both ends have said all."""

    def step(self, token: bytes | None = None) -> bytes | None:
        """Take the peer's token and return one for it; None when there is nothing more to say."""

    def get_signature(self, data: bytes) -> bytes:
        """Return the message integrity code of the data."""

    def verify_signature(self, data: bytes, signature: bytes) -> object:
        """Return when the code is right, else raise."""


class Ticket:
    """The client's end of a context with the server's principal `DNS/host`, by the library `gssapi`."""

    def __init__(self, host: str) -> None:
        """Find the ticket cache.

        Raises:
            GssUnusable: the library is missing, or there can be no such principal.
        """
        try:
            import gssapi  # noqa: PLC0415 - only those who ask for GSS-TSIG need it
        except ImportError as error:
            raise GssUnusable(
                "gss-tsig needs the Python library gssapi where the module runs: install python3-gssapi"
            ) from error
        if _is_address(host):
            raise GssUnusable(
                f"gss-tsig needs the server's name for its principal DNS/<name>, and {host} is an address: "
                "give the name as server"
            )
        self._host = host
        self._failure: type[Exception] = gssapi.exceptions.GSSError
        name = gssapi.Name(f"DNS@{host}", gssapi.NameType.hostbased_service)
        flag = gssapi.RequirementFlag
        # Not out_of_sequence_detection, which is the default: a server may answer in any order (RFC 7766 section 7).
        flags = [flag.mutual_authentication, flag.replay_detection, flag.integrity]
        self._context: Any = gssapi.SecurityContext(name=name, usage="initiate", flags=flags)

    @property
    def complete(self) -> bool:
        """Whether both ends have said all."""
        return bool(self._context.complete)

    def step(self, token: bytes | None = None) -> bytes | None:
        """Take the server's token and return the next one.

        Raises:
            GssUnusable: there is no valid ticket for the server.
        """
        try:
            answer: bytes | None = self._context.step(token)
        except self._failure as error:
            raise GssUnusable(
                f"no Kerberos ticket for DNS/{self._host} ({error}): run kinit, or see the KDC"
            ) from error
        return answer

    def get_signature(self, data: bytes) -> bytes:
        """Return the message integrity code of the data."""
        return bytes(self._context.get_signature(data))

    def verify_signature(self, data: bytes, signature: bytes) -> object:
        """Return when the code is right, else raise."""
        return self._context.verify_signature(data, signature)


def negotiate(exchange: Exchange, context: Context) -> dns.tsig.Key:
    """Return the key that client and server agree on over the exchange, which must not sign yet.

    Raises:
        GssUnusable: there is no ticket, or the server does not accept it.
        BadAnswer: the server does not negotiate, or does not sign its last word.
        UpdateError: it cannot be reached.
    """
    server = str(exchange.server)
    # The name must be unknown to the server (RFC 3645 section 3.1.1).
    key = dns.tsig.Key(dns.name.from_text(f"{uuid.uuid4()}.btmm.fleet."), b"", dns.tsig.GSS_TSIG)
    key.secret = context  # type: ignore[assignment]  # dnspython keeps the context there
    adapter: Any = dns.tsig.GSSTSigAdapter({key.name: key})  # type: ignore[no-untyped-call]
    token = context.step()
    for _ in range(_ROUNDS):
        wire = exchange.ask_raw(_question(key.name, token or b""))
        try:
            # Of a signed answer dnspython takes the token by itself, since only then it can verify the signature.
            answer = dns.message.from_wire(wire, keyring=adapter)
        except (dns.exception.DNSException, ValueError) as error:
            raise BadAnswer(f"{server} sent an answer that cannot be verified: {error}") from error
        check_response(answer, server)
        reply = next((s[0] for s in answer.answer if s.name == key.name and s.rdtype == dns.rdatatype.TKEY), None)
        if reply is None or reply.error:
            code = "no TKEY" if reply is None else dns.rcode.to_text(dns.rcode.Rcode.make(reply.error), tsig=True)
            raise GssUnusable(f"{server} does not accept the ticket ({code}): check its keytab and the clocks")
        if answer.had_tsig and context.complete:
            return key
        if answer.had_tsig or context.complete:
            break
        token = context.step(reply.key)
    raise BadAnswer(f"{server} did not end the GSS-TSIG negotiation with a signature: look into its log")


def _question(name: dns.name.Name, token: bytes) -> dns.message.Message:
    """Return the TKEY query, its record in the additional section (RFC 3645 section 3.1.2)."""
    now = int(time.time())
    tkey = TKEY(  # type: ignore[no-untyped-call]
        dns.rdataclass.ANY,
        dns.rdatatype.TKEY,
        dns.tsig.GSS_TSIG,
        now,
        now + _LIFETIME_S,
        _NEGOTIATION,
        dns.rcode.NOERROR,
        token,
        b"",
    )
    query = dns.message.make_query(name, dns.rdatatype.TKEY, dns.rdataclass.ANY, flags=0)
    query.find_rrset(query.additional, name, dns.rdataclass.ANY, dns.rdatatype.TKEY, create=True).add(tkey)
    return query


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
