# SPDX-License-Identifier: GPL-3.0-or-later
"""The negotiation against a server of our own; contexts sign with HMAC instead of Kerberos."""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import connection, gss, names, update
from ansible_collections.btmm.fleet.plugins.module_utils.gss import GssUnusable
from ansible_collections.btmm.fleet.plugins.module_utils.update import BadAnswer
from dns.rdtypes.ANY.TKEY import TKEY

ZONE = names.parse_zone("bob.members.example")


class End:
    """One end of a context that is complete after so many tokens of the peer."""

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self.seen: list[bytes] = []

    @property
    def complete(self) -> bool:
        return self.left <= 0

    def step(self, token: bytes | None = None) -> bytes | None:
        if token:
            self.seen.append(token)
            self.left -= 1
        return None if self.complete else b"token %d" % self.left

    def get_signature(self, data: bytes) -> bytes:
        return hmac.digest(b"session key", data, "sha256")

    def verify_signature(self, data: bytes, signature: bytes) -> object:
        if not hmac.compare_digest(self.get_signature(data), signature):
            raise ValueError("forged")
        return None


class Server:
    """Answers TKEY queries as BIND does: signed when its end is complete."""

    server = "ns port 53"

    def __init__(self, rounds: int = 1, *, error: int = 0, rcode: int = 0, signs: bool = True) -> None:
        self.end = End(rounds)
        self.error, self.rcode, self.signs = error, rcode, signs
        self.key: dns.tsig.Key | None = None

    def ask_raw(self, message: dns.message.Message) -> bytes:
        query = dns.message.from_wire(message.to_wire())
        (asked,) = query.additional
        assert query.question[0].name == asked.name
        assert query.question[0].rdtype == asked.rdtype == dns.rdatatype.TKEY
        tkey: Any = asked[0]
        assert (tkey.mode, tkey.algorithm) == (3, dns.tsig.GSS_TSIG)
        token = self.end.step(tkey.key) or b"last token"
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.Rcode.make(self.rcode))
        fields = (tkey.algorithm, 1, 2, 3, self.error, token, b"")
        answer = TKEY(dns.rdataclass.ANY, dns.rdatatype.TKEY, *fields)  # type: ignore[no-untyped-call]
        response.answer.append(dns.rrset.from_rdata(asked.name, 0, answer))
        if self.end.complete and self.signs:
            self.key = dns.tsig.Key(asked.name, b"", dns.tsig.GSS_TSIG)
            self.key.secret = self.end  # type: ignore[assignment]
            response.use_tsig(self.key)
        return response.to_wire()


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_both_ends_agree_on_a_key_that_signs_updates(rounds: int) -> None:
    server, context = Server(rounds), End(rounds)
    key = gss.negotiate(server, context)  # type: ignore[arg-type]
    assert len(context.seen) == rounds
    message = update.change(ZONE, [])
    message.use_tsig(key)
    wire = message.to_wire()
    assert dns.message.from_wire(wire, keyring=server.key).had_tsig
    forged = wire[:20] + bytes([wire[20] ^ 1]) + wire[21:]
    with pytest.raises(dns.tsig.BadSignature):
        dns.message.from_wire(forged, keyring=server.key)


@pytest.mark.parametrize(
    ("server", "kind", "words"),
    [
        (Server(error=17), GssUnusable, r"does not accept the ticket \(BADKEY\)"),
        (Server(rcode=5), update.UpdateRefused, "REFUSED"),
        (Server(signs=False), BadAnswer, "with a signature"),
        (Server(99), BadAnswer, "did not end"),
    ],
)
def test_servers_that_do_not_agree(server: Server, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        gss.negotiate(server, End(1 if server.end.left < 9 else 99))  # type: ignore[arg-type]


def test_garbage_is_no_answer() -> None:
    garbage = SimpleNamespace(server="ns port 53", ask_raw=lambda _: b"garbage")
    with pytest.raises(BadAnswer, match="cannot be verified"):
        gss.negotiate(garbage, End(1))  # type: ignore[arg-type]


PARAMETERS: dict[str, Any] = {
    "server": "ns.example", "port": 1, "tls": None, "timeout": 1, "retries": 0, "key_algorithm": "gss-tsig"
}  # fmt: skip


def test_without_the_library_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(GssUnusable, match="install python3-gssapi"), connection.open_session(PARAMETERS):
        pass


class KerberosError(Exception):
    pass


def library(step: Callable[[bytes | None], bytes]) -> SimpleNamespace:
    return SimpleNamespace(
        exceptions=SimpleNamespace(GSSError=KerberosError),
        NameType=SimpleNamespace(hostbased_service="host"),
        Name=lambda name, kind: (name, kind),
        RequirementFlag=SimpleNamespace(mutual_authentication=2, replay_detection=4, integrity=32),
        SecurityContext=lambda **given: SimpleNamespace(**given, step=step, complete=False),
    )


def test_the_principal_is_made_of_the_servers_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", library(lambda _: b"token"))
    ticket = gss.Ticket("ns.example")
    assert ticket._context.name == ("DNS@ns.example", "host")
    assert ticket._context.flags == [2, 4, 32]
    assert ticket.step() == b"token"
    for address in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(GssUnusable, match="is an address"):
            gss.Ticket(address)


def test_no_ticket_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes | None) -> bytes:
        raise KerberosError("no credentials cache")

    monkeypatch.setitem(sys.modules, "gssapi", library(fail))
    with pytest.raises(GssUnusable, match=r"no Kerberos ticket for DNS/ns\.example"):
        gss.Ticket("ns.example").step()
