# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a client is by its TSIG key: what RFC 8945 has a server answer, in octets and at a real notifier."""

from __future__ import annotations

import base64
import contextlib
import hmac
import signal
import time
from collections.abc import Iterator

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Rcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question
from ansible_collections.btmm.fleet.plugins.module_utils.push_introduction import introduction
from ansible_collections.btmm.fleet.plugins.module_utils.update import BadKey, BadTime, UpdateRefused, read_response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.access import Client as Known
from notifier.introduction import introduced
from notifier.mirror import Mirror
from notifier.stream import Limits as StreamLimits
from tests.named import SECRET
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying
from tests.unit.notifier.test_access import Place, place, write_keys
from tests.unit.notifier.test_push_server import PTR, SSH, TXT, Client, update

__all__ = ["place"]  # the fixture
EVE = dns.name.from_text("eve.members.example.")
OTHER_SECRET = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="


@pytest.fixture(scope="module")
def notifier() -> Iterator[Notifier]:
    with notifying(hosts=("imac", "macbook")) as running:
        yield running


def key_of(label: str = "imac", zone: dns.name.Name = ZONE, secret: str = SECRET) -> dns.tsig.Key:
    return dns.tsig.Key(dns.name.from_text(label, zone), secret, "hmac-sha256")


def signed(key: dns.tsig.Key, server_name: str = SERVER_NAME, skew_s: int = 0) -> dns.message.Message:
    """A rendered introduction; its clock is `skew_s` seconds ahead."""
    message = introduction(server_name, key)
    with pytest.MonkeyPatch.context() as patch:
        now = time.time() + skew_s
        patch.setattr("dns.message.time.time", lambda: now)
        message.to_wire()
    return message


def wire_of(message: dns.message.Message) -> bytes:
    assert message.wire is not None
    return message.wire


def by_hand(answer: bytes, request_mac: bytes, secret: str = SECRET) -> bytes:
    """The MAC that an answer should have (RFC 8945 sections 4.3.1 and 5.3.2), for our names and one algorithm."""
    name, algorithm = key_of().name.to_digestable(), b"\x0bhmac-sha256\x00"
    after = answer.rindex(bytes.fromhex("00fa 00ff 00000000"))
    begin = answer.rindex(b"\x04imac", 0, after)  # the key's name, which may be compressed
    assert dns.name.from_wire(answer, begin) == (key_of().name, after - begin)
    variables = answer[after + 10 :]
    assert variables.startswith(algorithm)
    timers, rest = variables[len(algorithm) :][:8], variables[len(algorithm) + 8 :]
    size = int.from_bytes(rest[:2], "big")
    number, error_other = rest[2 + size :][:2], rest[4 + size :]
    records = int.from_bytes(answer[10:12], "big") - 1
    message = number + answer[2:10] + records.to_bytes(2, "big") + answer[12:begin]
    digested = len(request_mac).to_bytes(2, "big") + request_mac + message
    digested += name + bytes.fromhex("00ff 00000000") + algorithm + timers + error_other
    assert rest[2 : 2 + size] == hmac.digest(base64.b64decode(secret), digested, "sha256")
    return timers


def test_a_key_opens_the_zone(notifier: Notifier) -> None:
    update(notifier, "add a1._ssh._tcp 120 TXT x", "add _ssh._tcp 4500 PTR a1._ssh._tcp")
    question = signed(key_of())
    with Client(notifier, None) as client:
        wire = client.query(wire_of(question))
        answer = read_response(wire, question, "the server")
        assert [(rrset.name, rrset.rdtype) for rrset in answer.authority] == [(ZONE, dns.rdatatype.SOA)]
        assert not answer.answer
        by_hand(wire, question.mac or b"")
        client.begin().subscribe(SSH, PTR)
        assert client.pushed() == ["_ssh._tcp 12 4500 a1._ssh._tcp.bob.members.example."]


def test_without_key_and_certificate_nothing_is_told(notifier: Notifier) -> None:
    with Client(notifier, None) as client, Client(notifier, None) as host:
        answer = client.begin().ask(push.subscribe(Question(SSH, PTR)))
        assert (answer.rcode, dso.parse_retry_delay(answer)) == (Rcode.NOTAUTH, 300_000)
        client.tell(push.reconfirm(SSH, dns.rdata.from_text("IN", "PTR", "a._ssh._tcp.bob.members.example.")))
        host.query(wire_of(signed(key_of())))
        host.begin().subscribe(SSH, TXT)
        update(notifier, "add _ssh._tcp 60 TXT secret")
        assert host.pushed() == ['_ssh._tcp 16 60 "secret"']
        assert client.silent()


def test_a_query_without_signature_is_refused_and_ends_the_connection(notifier: Notifier) -> None:
    query = dns.message.make_query(SERVER_NAME, "SOA")
    with Client(notifier, None) as client:
        answer = dns.message.from_wire(client.query(query.to_wire()))
        assert (answer.rcode(), answer.authority) == (dns.rcode.REFUSED, [])
        assert client.read() is None


@pytest.mark.parametrize(
    ("key", "error", "raised"),
    [
        (key_of(secret=OTHER_SECRET), dns.rcode.BADSIG, BadKey),
        (key_of("mini"), dns.rcode.BADKEY, BadKey),
        (key_of("imac", EVE), dns.rcode.BADKEY, BadKey),
        (dns.tsig.Key(key_of().name, SECRET, "hmac-sha512"), dns.rcode.BADKEY, BadKey),
    ],
)
def test_a_wrong_key_is_told_so_unsigned(
    notifier: Notifier, key: dns.tsig.Key, error: dns.rcode.Rcode, raised: type[Exception]
) -> None:
    question = signed(key)
    with Client(notifier, None) as client:
        wire = client.query(wire_of(question))
        with pytest.raises(raised):
            read_response(wire, question, "the server")
        answer = dns.message.from_wire(wire, keyring=lambda *_: False)
        assert answer.rcode() == dns.rcode.NOTAUTH
        assert answer.tsig is not None
        assert (answer.tsig[0].error, answer.tsig[0].mac) == (error, b"")
        assert client.read() is None  # the connection ends


@pytest.mark.parametrize("skew_s", [-400, 400])
def test_a_wrong_time_is_told_so_signed(notifier: Notifier, skew_s: int) -> None:
    question = signed(key_of(), skew_s=skew_s)
    with Client(notifier, None) as client:
        wire = client.query(wire_of(question))
        timers = by_hand(wire, question.mac or b"")
        assert question.tsig is not None
        assert int.from_bytes(timers[:6], "big") == question.tsig[0].time_signed
        assert abs(int.from_bytes(wire[-6:], "big") - time.time()) < 5
        with pytest.raises(BadTime):
            read_response(wire, question, "the server")
        assert client.read() is None


@pytest.mark.parametrize("name", ["bob.members.example", "zone2.bob.members.example", "."])
def test_what_is_meant_for_another_server_is_refused(notifier: Notifier, name: str) -> None:
    question = signed(key_of(), name)
    with Client(notifier, None) as client:
        wire = client.query(wire_of(question))
        with pytest.raises(UpdateRefused):
            read_response(wire, question, "the server")
        by_hand(wire, question.mac or b"")
        assert client.read() is None


def test_who_is_known_is_not_asked_again(notifier: Notifier) -> None:
    with Client(notifier, None) as client:
        client.query(wire_of(signed(key_of())))
        answer = dns.message.from_wire(client.query(wire_of(signed(key_of("macbook")))), keyring=False)
        assert answer.rcode() == dns.rcode.NOTIMP
        client.begin().subscribe(SSH, PTR)


def test_a_host_that_leaves_is_asked_to_go(notifier: Notifier) -> None:
    with Client(notifier, None) as client:
        client.query(wire_of(signed(key_of("macbook"))))
        client.begin().subscribe(SSH, TXT)
        keys = notifier.directory / "credentials" / "keys.conf"
        text = keys.read_text()
        keys.write_text("".join(line for line in text.splitlines(keepends=True) if "macbook" not in line))
        notifier.process.send_signal(signal.SIGHUP)
        try:
            message = client.read()
            while message is not None and message.primary.type == push.Type.PUSH:
                message = client.read()
            assert message is not None
            assert (message.primary.type, message.rcode) == (dso.Type.RETRY_DELAY, Rcode.NOTAUTH)
            question = signed(key_of("macbook"))
            with Client(notifier, None) as again:
                wire = again.query(wire_of(question))
            with pytest.raises(BadKey):
                read_response(wire, question, "the server")
        finally:
            keys.write_text(text)
            notifier.process.send_signal(signal.SIGHUP)


def test_clients_that_nobody_knows_give_way_to_each_other() -> None:
    """They count as half open, so they take no session from a host, and end when they stay silent."""
    limit = StreamLimits().half_open_per_address
    with notifying() as own, contextlib.ExitStack() as stack:
        nobodies = [stack.enter_context(Client(own, None)) for _ in range(limit + 5)]
        with Client(own, None) as host:
            host.query(wire_of(signed(key_of())))
            assert nobodies[0].read() is None
            assert nobodies[-1].ask(dso.keepalive(Keepalive(0, 60_000))).rcode == Rcode.NOERROR
            assert nobodies[-1].read(StreamLimits().handshake_s + 15) is None
            host.begin().subscribe(SSH, TXT)


async def test_a_key_opens_nothing_of_another_owner(place: Place) -> None:
    mirror = Mirror()
    for server_of, code in (("bob", dns.rcode.REFUSED), ("eve", dns.rcode.SERVFAIL)):
        question = signed(key_of("imac", EVE), f"zone.{server_of}.members.example")
        known, wire = introduced(wire_of(question), place.access, mirror)
        answer = dns.message.from_wire(wire, keyring=question.keyring, request_mac=question.mac)
        # SERVFAIL: right, but this mirror has no zone yet.
        assert (known, answer.rcode()) == (None, code)
    eve = place.access.identify_key(key_of("imac", EVE).name)
    assert eve == Known(EVE, b"imac")
    assert place.access.opens(eve) == place.zones("eve")


async def test_the_key_of_a_removed_host_is_unknown(place: Place) -> None:
    question = signed(key_of("old"))
    write_keys(place.domains["bob"], "imac")
    place.update()
    known, wire = introduced(wire_of(question), place.access, Mirror())
    assert known is None
    with pytest.raises(dns.tsig.PeerBadKey):
        dns.message.from_wire(wire, keyring=question.keyring, request_mac=question.mac)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=12, max_size=200), st.integers(0, 400), st.binary(max_size=3))
def test_octets_raise_nothing(place: Place, noise: bytes, at: int, put: bytes) -> None:
    """Noise, and a good introduction with some octets of it replaced: never an exception, and nobody is let in."""
    good = wire_of(signed(key_of()))
    broken = good[:at] + put + good[at + len(put) :]
    for wire in (noise, broken):
        query = wire[:2] + bytes((wire[2] & 0x07,)) + wire[3:]  # what the session hands on: opcode QUERY, QR 0
        known, answer = introduced(query, place.access, Mirror())
        assert known is None
        assert answer[:2] == query[:2]
        assert answer[2] & 0x80
