# SPDX-License-Identifier: GPL-3.0-or-later
"""A DNS primary in a thread: TSIG, queries, AXFR and UPDATE over TCP on loopback, without policy or journal."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.name import Name

SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class Primary:
    """The zone's records, and the messages that came."""

    def __init__(self, zone: Name, lines: list[str], key: dns.tsig.Key) -> None:
        self.zone = zone
        self.key = key
        soa = Record.from_text("@ 3600 IN SOA ns hostmaster 1 2 3 4 5", zone)
        self.records = [soa, *(Record.from_text(line, zone) for line in lines)]
        self.updates: list[dns.message.Message] = []
        self.rcode = dns.rcode.NOERROR
        self.port = 0

    def text(self) -> set[str]:
        """Return all records but the SOA, relative to the zone."""
        return {
            f"{r.name.relativize(self.zone)} {r.ttl} {dns.rdatatype.to_text(r.rdata.rdtype)} "
            f"{r.rdata.to_text(origin=self.zone, relativize=True)}"
            for r in self.records[1:]
        }

    def answer(self, wire: bytes) -> bytes:
        request = dns.message.from_wire(wire, keyring=self.key)
        response = dns.message.make_response(request)
        response.use_tsig(self.key)
        response.request_mac = request.mac or b""
        response.set_rcode(self.rcode)
        if request.opcode() == dns.opcode.UPDATE and not self.rcode:
            self.updates.append(request)
            self.apply(request)
        elif request.opcode() == dns.opcode.QUERY and not self.rcode:
            question = request.question[0]
            found = self.records
            if question.rdtype == dns.rdatatype.AXFR:
                # Any other zone is served too, and empty.
                soa = replace(self.records[0], name=question.name)
                found = [soa, *(r for r in self.records[1:] if question.name == self.zone), soa]
            else:
                found = [r for r in found if (r.name, r.rdata.rdtype) == (question.name, question.rdtype)]
            response.answer = [dns.rrset.from_rdata(r.name, r.ttl, r.rdata) for r in found]
        return response.to_wire()

    def apply(self, message: dns.message.Message) -> None:
        assert isinstance(message, dns.update.UpdateMessage)
        for rrset in message.update:
            name, kind = rrset.name, rrset.rdtype
            if rrset.deleting == dns.rdataclass.ANY:
                self.records = [r for r in self.records if (r.name, r.rdata.rdtype) != (name, kind)]
            elif rrset.deleting == dns.rdataclass.NONE:
                gone = {rdata.to_text() for rdata in rrset}
                self.records = [
                    r for r in self.records if (r.name, r.rdata.rdtype) != (name, kind) or r.rdata.to_text() not in gone
                ]
            else:
                for rdata in rrset:
                    added = Record(name, rrset.ttl, rdata)
                    self.records = [r for r in self.records if (r.name, r.rdata) != (name, rdata)] + [added]


@contextmanager
def serving(primary: Primary) -> Iterator[Primary]:
    """Serve until the block ends; the port is in `primary.port`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.read(2):
                answer = primary.answer(self.rfile.read(int.from_bytes(size, "big")))
                self.wfile.write(len(answer).to_bytes(2, "big") + answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        primary.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield primary
        finally:
            server.shutdown()
            thread.join()
