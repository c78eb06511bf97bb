# SPDX-License-Identifier: GPL-3.0-or-later
"""UPDATE messages (RFC 2136) from records, and what a server's answer means.

One message carries everything a host has to say about one zone, since the server applies a message as a whole or
not at all (RFC 2136 section 3.4): nobody ever reads half a host.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rrset
import dns.tsig
import dns.update

from .names import InvalidName, enumeration_name, folded
from .records import rrset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.name import Name
    from dns.rdatatype import RdataType

    from .records import Record, RRset


class UpdateError(Exception):
    """The server did not do what was asked; `retryable` tells whether the same message may succeed later."""

    retryable = False


class UpdateRefused(UpdateError):
    """REFUSED: the key is known but may not do this."""


class NotAuthoritative(UpdateError):
    """NOTAUTH or NOTZONE: the server is not the primary of the zone."""


class BadKey(UpdateError):
    """The server does not know the key (BADKEY), or knows it with another secret (BADSIG)."""


class BadTime(UpdateError):
    """The clocks differ by more than the fudge; `skew_s` is ours minus the server's, in seconds, None when not told."""

    def __init__(self, message: str, skew_s: int | None) -> None:
        super().__init__(message)
        self.skew_s = skew_s


class BadAnswer(UpdateError):
    """The answer is not signed as it must be, or is no answer to the message that was sent."""


class PrerequisiteFailed(UpdateError):
    """A prerequisite of the message does not hold: somebody else was faster."""


class ServerFailed(UpdateError):
    """SERVFAIL: the server could not do it now, for example because its update quota was used up."""

    retryable = True


class UpdateRejected(UpdateError):
    """FORMERR, NOTIMP or another code that no retry mends."""


_PREREQUISITE = {dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET}


def host_update(zone: Name, wanted: Sequence[Record], previous: Sequence[Record] = ()) -> dns.update.UpdateMessage:
    """Return the one message that brings a zone from what a host published before to what it wants now.

    As `change`, but the enumeration of types is only ever added to: other hosts rely on the very same records there,
    and no host can tell whether it is the last one (facts, section 2, row 2: no goodbye is sent for it).
    """
    enumeration = enumeration_name(zone)
    return change(zone, wanted, [record for record in previous if record.name != enumeration])


def withdraw(zone: Name, records: Sequence[Record]) -> dns.update.UpdateMessage:
    """Return the message with which a host takes all of its records away, and of shared RRsets nothing else."""
    return host_update(zone, (), records)


def change(zone: Name, wanted: Sequence[Record], previous: Sequence[Record] = ()) -> dns.update.UpdateMessage:
    """Return the one message that makes `wanted` of `previous`.

    An RRset that is all ours is replaced (RFC 2136 section 2.5.2, then 2.5.1). Of a shared one only our own rdata is
    added, and our own former rdata deleted (section 2.5.4). What is in `previous` and not wanted is withdrawn.

    Args:
        zone: the zone all records are in.
        wanted: every record the owner has from now on, in the order of publication.
        previous: what the owner published before, as far as it is known.

    Raises:
        InvalidName: a record is not in the zone.
    """
    message = dns.update.UpdateMessage(zone)
    kept = {_key(record) for record in wanted if record.shared} if previous else set()
    sets = {rrset(record) for record in wanted} if previous else set()
    gone: set[RRset] = set()
    for record in _inside(zone, previous):
        if record.shared and _key(record) not in kept:
            message.delete(record.name, record.rdata)
        elif not record.shared and (owner := rrset(record)) not in sets and owner not in gone:
            gone.add(owner)
            message.delete(record.name, record.rdata.rdtype)
    replaced: set[RRset] = set()
    added: set[tuple[RRset, object]] = set()
    for record in _inside(zone, wanted):
        if record.shared:
            # Many hosts of one message add the same pointer to their type.
            same = (rrset(record), record.rdata)
            if same in added:
                continue
            added.add(same)
        elif (owner := rrset(record)) not in replaced:
            replaced.add(owner)
            _append(message, record, deleting=True)
        _append(message, record)
    return message


def require(message: dns.update.UpdateMessage, name: Name, rdtype: RdataType, held: Sequence[Record]) -> None:
    """Have the server apply `message` only if an RRset holds exactly these records, or is not there if there are none.

    RFC 2136 sections 2.4.2 and 2.4.3; TTLs do not count.
    """
    if held:
        message.present(name, *(record.rdata for record in held))
    else:
        message.absent(name, rdtype)


def read_response(
    wire: bytes, request: dns.message.Message, server: str, *, stream: bool = False
) -> dns.message.Message:
    """Parse the answer to a signed `request`, verify its signature, and check its code.

    Args:
        wire: the answer as received, without the length prefix of TCP.
        request: the message as sent (rendered, so that it carries its MAC).
        server: how error messages name the server.
        stream: it is the first of several messages, whose signatures go on from its (RFC 8945 section 5.3.1).

    Raises:
        UpdateError: one of its subclasses, in one sentence.
    """
    try:
        response = dns.message.from_wire(
            wire, keyring=request.keyring, request_mac=request.mac, xfr=stream, multi=stream
        )
    except dns.tsig.PeerBadTime as error:
        skew = _skew(wire)
        ahead = "" if skew is None else f" by {abs(skew)} s ({'ahead' if skew > 0 else 'behind'})"
        raise BadTime(
            f"{server} refused the signature since this host's clock differs{ahead}: set the clock", skew
        ) from error
    except dns.tsig.PeerBadKey as error:
        raise BadKey(f"{server} does not know the key {request.keyname}: enrol the host, or mend key name") from error
    except dns.tsig.PeerBadSignature as error:
        raise BadKey(f"{server} has another secret for the key {request.keyname}: enrol the host again") from error
    except (dns.exception.DNSException, ValueError) as error:
        raise BadAnswer(f"{server} sent an answer that cannot be verified: {error or type(error).__name__}") from error
    if request.had_tsig and not response.had_tsig:
        # An unsigned NOTAUTH is how BIND answers for a zone it has not; anything else unsigned is not to be believed.
        check_response(response, server)
        raise BadAnswer(f"{server} sent an unsigned answer to a signed message: is it the right server?")
    if not request.is_response(response):
        raise BadAnswer(f"{server} sent an answer to another question")
    check_response(response, server)
    return response


def check_response(response: dns.message.Message, server: str) -> None:
    """Return when the code of an answer means success, else raise the error it means.

    Args:
        response: the parsed answer.
        server: how error messages name the server.

    Raises:
        UpdateError: one of its subclasses, in one sentence.
    """
    code = response.rcode()
    name = dns.rcode.to_text(code)
    if code == dns.rcode.NOERROR or (code == dns.rcode.NXDOMAIN and response.opcode() == dns.opcode.QUERY):
        return
    if code == dns.rcode.REFUSED:
        raise UpdateRefused(f"{server} refused (REFUSED): the key may not do this; check the grants of the host")
    if code in {dns.rcode.NOTAUTH, dns.rcode.NOTZONE}:
        raise NotAuthoritative(f"{server} is not the primary of this zone ({name}): check zone and server")
    if code in _PREREQUISITE or code == dns.rcode.NXDOMAIN:
        raise PrerequisiteFailed(f"{server} changed nothing: a prerequisite does not hold ({name})")
    if code == dns.rcode.SERVFAIL:
        raise ServerFailed(
            f"{server} could not do it (SERVFAIL): it is busy, or a set has more than its max-records-per-type "
            "(100) allows; look into its log"
        )
    raise UpdateRejected(f"{server} rejected the message ({name}): look into its log")


def _skew(wire: bytes) -> int | None:
    """Return our clock minus the server's, in seconds, from a BADTIME answer.

    The server's 48-bit clock is the TSIG's Other Data (RFC 8945 section 5.2.3), and TSIG is the last record of a
    message, so these are the last six octets.
    """
    if len(wire) < 8 or wire[-8:-6] != b"\x00\x06":
        return None
    return int(time.time()) - int.from_bytes(wire[-6:], "big")


def _append(message: dns.update.UpdateMessage, record: Record, *, deleting: bool = False) -> None:
    """Append the record, or the deletion of its whole RRset, to a message.

    As `UpdateMessage.add` and `delete` do, which search and hash so much that they cost more than all the rest.
    """
    rdtype = record.rdata.rdtype
    part = dns.rrset.RRset(record.name, dns.rdataclass.IN, rdtype, deleting=dns.rdataclass.ANY if deleting else None)
    if not deleting:
        part.update_ttl(record.ttl)
        part.items[record.rdata] = None
    message.update.append(part)


def _inside(zone: Name, records: Iterable[Record]) -> Iterable[Record]:
    suffix = folded(zone)
    for record in records:
        if folded(record.name)[-len(suffix) :] != suffix:
            raise InvalidName(f"'{record.name}' is not in zone {zone}: one message updates one zone")
        yield record


def _key(record: Record) -> tuple[RRset, object]:
    return rrset(record), record.rdata
