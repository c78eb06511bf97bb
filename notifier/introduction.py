# SPDX-License-Identifier: GPL-3.0-or-later
"""A client tells who it is by a question that its TSIG key signs (RFC 8945), as the first message of a connection.

The question is the SOA of the very name that the server's certificate bears. TLS 1.3 binds nothing to its channel that
Python can get at, but this is enough against replay: only the client and this server ever see the plaintext, the
server takes neither early data nor resumed sessions (RFC 8446 section 8), and what another server of the zone was told
names that other server. The signature's time bounds all that to its fudge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from . import signed

if TYPE_CHECKING:
    from dns.message import Message
    from dns.name import Name

    from .access import Access, Client
    from .mirror import Mirror


def introduced(wire: bytes, access: Access, mirror: Mirror) -> tuple[Client | None, bytes]:
    """Return who has signed a question (opcode QUERY, QR 0), and what to answer; nobody, unless the answer is NOERROR.

    Never raises: what can't be parsed is answered with FORMERR.
    """
    question, refusal = signed.read(wire, access)
    if question is None:
        return None, refusal
    client = access.identify_key(question.keyname) if question.had_tsig and question.keyname else None
    answer = dns.message.make_response(question)
    zone = _asked(question, client, access)
    soas = mirror.lookup(zone, RdataType.SOA) if zone else ()
    answer.set_rcode(Rcode.REFUSED if zone is None else Rcode.NOERROR if soas else Rcode.SERVFAIL)
    for soa in soas:
        # The server's name has no SOA of its own: that of its zone says so (RFC 2308 section 3).
        answer.flags |= dns.flags.AA
        answer.authority.append(dns.rrset.from_rdata(soa.name, soa.ttl, *soa.rdatas))
    return client if soas else None, answer.to_wire(max_size=signed.MAX_MESSAGE)


def _asked(question: Message, client: Client | None, access: Access) -> Name | None:
    """Return the zone whose server is asked for; None when it is not asked, or not by who may know the zone."""
    if client is None or client.zone not in access.opens(client) or len(question.question) != 1:
        return None
    (asked,) = question.question
    named = asked.name == access.server_name(client.zone)
    right = asked.rdtype == RdataType.SOA and asked.rdclass == dns.rdataclass.IN
    return client.zone if named and right else None
