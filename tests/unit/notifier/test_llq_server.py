# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived queries from the notifier as a process beside a real BIND, spoken to in octets: RFC 8764, rule by rule."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import dns.message
import dns.name
import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import llq, names, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Error, Llq, Message, Opcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import REMOVE, Question
from dns.rdatatype import RdataType

from notifier.config import Limits
from notifier.stream import Limits as StreamLimits
from tests.certificates import Owner
from tests.named import ADDRESS, SECRET
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying, wait_for
from tests.unit.notifier.test_push_server import update

PTR, TXT, A, NS = 12, 16, 1, 2
NOTAUTH = 9
SSH = dns.name.from_text("_ssh._tcp", ZONE)
QUIET_S = 0.3
LLQS_PER_CLIENT = 30


@pytest.fixture(scope="module")
def notifier() -> Iterator[Notifier]:
    unmeasured = {"llq_burst": 1_000_000, "llq_verified_per_s": 1_000_000}  # every client here has one address
    with notifying(("imac", "macbook"), Limits(llqs_per_client=LLQS_PER_CLIENT, **unmeasured)) as running:
        yield running


def key(label: str = "imac", secret: str = SECRET) -> dns.tsig.Key:
    return dns.tsig.Key(names.tsig_key_name(label, ZONE), secret, "hmac-sha256")


class Client:
    """One end of UDP, TCP or TLS, on which every octet is ours; its messages are signed when it has a key."""

    def __init__(self, sock: socket.socket, shown: dns.tsig.Key | None) -> None:
        self.sock = sock
        self.key = shown
        self.stream = sock.type == socket.SOCK_STREAM
        self.fault: type[dns.tsig.PeerError] | None = None  # what the server did not like about the last signature
        self._number = os.getpid() & 0xFFF
        self._left = b""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def write(self, wire: bytes) -> None:
        self.sock.sendall(len(wire).to_bytes(2, "big") + wire if self.stream else wire)

    def read(self, within_s: float = 5.0) -> bytes | None:
        """Return the next message; None when there is none in time, or the server has closed."""
        self.sock.settimeout(within_s)
        try:
            if not self.stream:
                return self.sock.recv(65536)
            while len(self._left) < 2 or len(self._left) < 2 + int.from_bytes(self._left[:2], "big"):
                more = self.sock.recv(65536)
                if not more:
                    self.ended = True
                    return None
                self._left += more
        except TimeoutError:
            return None
        except OSError:
            self.ended = True
            return None
        end = 2 + int.from_bytes(self._left[:2], "big")
        wire, self._left = self._left[2:end], self._left[end:]
        return wire

    def message(self, question: Question, option: Llq, payload: int = 1232) -> tuple[bytes, bytes]:
        """Return a request and its MAC."""
        self._number += 1
        wire, _ = llq.encode(self._number, [question], [option], payload=payload)
        return tsig.sign(wire, self.key) if self.key else (wire, b"")

    def ask(self, question: Question, option: Llq, payload: int = 1232) -> Message:
        request, mac = self.message(question, option, payload)
        self.write(request)
        wire = self.read()
        assert wire is not None, "no answer"
        answer = llq.parse(wire)
        assert (answer.response, answer.id) == (True, self._number)
        if self.key and answer.rcode == NOTAUTH:
            with pytest.raises(dns.tsig.PeerError) as raised:
                dns.message.from_wire(wire, keyring={self.key.name: self.key}, request_mac=mac)
            self.fault = raised.type
        elif self.key:
            assert answer.signed
            dns.message.from_wire(wire, keyring={self.key.name: self.key}, request_mac=mac)
        return answer

    def set_up(self, question: Question, lease: int = 7200, payload: int = 1232) -> tuple[Llq, list[str]]:
        """Go through the handshake; return what was granted, and what is there."""
        answer = self.ask(question, Llq(Opcode.SETUP, lease=lease), payload)
        if not self.stream or (self.key and not isinstance(self.sock, ssl.SSLSocket)):
            assert answer.changes == ()
            answer = self.ask(question, option(answer), payload)
        return option(answer), texts(answer)

    def event(self, within_s: float = 5.0, *, acknowledged: bool = True) -> Message | None:
        """Return the next event, and say that it is here."""
        wire = self.read(within_s)
        if wire is None:
            return None
        event = llq.parse(wire)
        assert event.response
        if self.key:
            dns.message.from_wire(wire, keyring={self.key.name: self.key})
        if acknowledged and not self.stream:
            self.write(llq.acknowledgment(event, option(event)))
        return event

    def told(self, within_s: float = 5.0) -> list[str]:
        event = self.event(within_s)
        return [] if event is None else texts(event)


def option(message: Message) -> Llq:
    (found,) = message.llqs
    assert found is not None
    return found


def texts(message: Message) -> list[str]:
    return sorted(f"{'-' if c.ttl == REMOVE else '+'}{c.name.relativize(ZONE)} {c.rdata}" for c in message.changes)


def udp(notifier: Notifier, shown: dns.tsig.Key | None = None) -> Client:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.connect((ADDRESS, notifier.ports.llq))
    return Client(sock, shown)


def tcp(notifier: Notifier, shown: dns.tsig.Key | None = None) -> Client:
    return Client(socket.create_connection((ADDRESS, notifier.ports.llq), timeout=5), shown)


def tls(notifier: Notifier, label: str = "imac", owner: Owner | None = None) -> Client:
    shown = (owner or notifier.owner).host(label)
    context = ssl.create_default_context(cafile=str(notifier.owner.ca))
    context.load_cert_chain(shown.certificate, shown.key)
    plain = socket.create_connection((ADDRESS, notifier.ports.llq_tls), timeout=5)
    return Client(context.wrap_socket(plain, server_hostname=SERVER_NAME), None)


def tls_nobody(notifier: Notifier, shown: dns.tsig.Key | None = None) -> Client:
    """Return one that shows no certificate: who it is, only a signature tells."""
    context = ssl.create_default_context(cafile=str(notifier.owner.ca))
    plain = socket.create_connection((ADDRESS, notifier.ports.llq_tls), timeout=5)
    return Client(context.wrap_socket(plain, server_hostname=SERVER_NAME), shown)


def before(notifier: Notifier, *lines: str) -> None:
    """Change the zone, and wait until the notifier has that."""
    update(notifier, *lines)
    with notifier.named.connect() as exchange:
        serial = exchange.lookup(ZONE, RdataType.SOA)[0].rdata.serial  # type: ignore[attr-defined]
    zone = ZONE.to_text(omit_final_dot=True)
    wait_for(lambda: notifier.status()["zones"][zone]["serial"] == serial, "the notifier has the change")


def subscriptions(notifier: Notifier) -> int:
    """Return how many LLQs there are by UDP and TCP, from the status, which is written within a second or so."""
    count: int = notifier.status()["llq"]["subscriptions"]
    return count


@pytest.mark.parametrize("way", [udp, tcp, tls, tls_nobody])
def test_what_is_there_comes_with_the_acknowledgment_and_changes_after_it(
    notifier: Notifier, way: type[Client]
) -> None:
    kind = dns.name.from_text(f"_{way.__name__}._tcp", ZONE)
    before(notifier, f"add {kind} 60 PTR one", f"add {kind} 60 PTR two")
    with way(notifier, *([] if way is tls else [key()])) as client:  # type: ignore[arg-type]
        granted, there = client.set_up(Question(kind, PTR), lease=1800)
        label = kind.relativize(ZONE)
        assert there == [f"+{label} one.{ZONE}", f"+{label} two.{ZONE}"]
        assert (granted.opcode, granted.error, granted.lease) == (Opcode.SETUP, Error.NO_ERROR, 1800)
        assert granted.id
        # One event for all that one step changes.
        update(notifier, f"delete {kind} PTR one.{ZONE}", f"add {kind} 60 PTR three")
        event = client.event()
        assert event is not None
        assert option(event) == Llq(Opcode.EVENT, granted.id)
        assert event.questions == (Question(kind, PTR),)
        assert texts(event) == [f"+{label} three.{ZONE}", f"-{label} one.{ZONE}"]
        assert client.read(QUIET_S) is None


def test_a_setup_that_is_not_confirmed_is_forgotten(notifier: Notifier) -> None:
    count = subscriptions(notifier)
    with udp(notifier, key()) as client:
        requests = [client.message(Question(SSH, PTR), Llq(Opcode.SETUP, lease=7200))[0] for _ in range(50)]
        kb = notifier.resident_kb
        for number in range(10_000):
            client.write(requests[number % 50])
            if number % 100 == 99:
                # The kernel keeps but a few; what counts is that they arrive.
                assert client.read() is not None
                while client.read(0.001) is not None:
                    pass
        time.sleep(2.5)
        assert subscriptions(notifier) == count
        assert notifier.resident_kb - kb < 2_000


def test_what_was_signed_by_tcp_is_worth_nothing_said_again(notifier: Notifier) -> None:
    """TCP is heard by whoever is on the way: neither setup nor response opens the zone to him."""
    question = Question(SSH, PTR)
    with tcp(notifier, key()) as client, tcp(notifier) as eavesdropper:
        setup, _ = client.message(question, Llq(Opcode.SETUP, lease=7200))
        client.write(setup)
        challenge = llq.parse(client.read() or b"")
        response, _ = client.message(question, option(challenge))
        client.write(response)
        assert llq.parse(client.read() or b"").rcode == 0
        eavesdropper.write(setup)
        assert llq.parse(eavesdropper.read() or b"").changes == ()
        eavesdropper.write(response)
        assert option(llq.parse(eavesdropper.read() or b"")).error == Error.NO_SUCH_LLQ


def test_who_signs_nothing_by_tls_takes_no_session_and_ends(notifier: Notifier) -> None:
    with contextlib.ExitStack() as stack:
        nobodies = [stack.enter_context(tls_nobody(notifier)) for _ in range(Limits().sessions_per_address + 5)]
        with tls_nobody(notifier, key()) as host:
            assert host.set_up(Question(SSH, PTR))[0].error == Error.NO_ERROR
            assert nobodies[-1].read(StreamLimits().handshake_s + 15) is None
            assert nobodies[-1].ended
            assert option(host.ask(Question(ZONE, NS), Llq(Opcode.SETUP))).error == Error.STATIC


def test_nobody_else_can_confirm(notifier: Notifier) -> None:
    question = Question(SSH, PTR)
    with udp(notifier, key()) as client, udp(notifier, key()) as other, udp(notifier, key("macbook")) as third:
        challenge = option(client.ask(question, Llq(Opcode.SETUP, lease=7200)))
        for spoof in (other, third):
            assert option(spoof.ask(question, challenge)).error == Error.NO_SUCH_LLQ
        elsewhere = Question(dns.name.from_text("x", ZONE), PTR)
        assert option(client.ask(elsewhere, challenge)).error == Error.NO_SUCH_LLQ
        granted = option(client.ask(question, challenge))
        assert granted.error == Error.NO_ERROR
        # Nor can anybody else end it.
        assert option(other.ask(question, Llq(Opcode.REFRESH, granted.id))).error == Error.NO_SUCH_LLQ
        assert option(client.ask(question, challenge)).id == granted.id  # our answer was lost: the same again


def test_answers_to_an_unproved_address_are_no_larger_than_the_request(notifier: Notifier) -> None:
    before(notifier, *(f"add big 60 TXT {'x' * 100}{number}" for number in range(9)))
    question = Question(dns.name.from_text("big", ZONE), TXT)
    ns = Question(ZONE, NS)
    for shown in (key(), None, key(secret="AAAA")):
        with udp(notifier, shown) as client:
            requests = [
                client.message(question, Llq(Opcode.SETUP, lease=7200))[0],
                client.message(question, Llq(Opcode.SETUP, id=77, lease=7200))[0],
                client.message(question, Llq(Opcode.REFRESH, id=77, lease=7200))[0],
                client.message(question, Llq(Opcode.SETUP, version=9))[0],
                client.message(ns, Llq(Opcode.SETUP))[0],
                dns.message.make_query(question.name, "TXT", use_edns=0, payload=4096).to_wire(),
                b"\0\1\0\0\0\1" + bytes(6),
            ]
            for request in requests:
                client.write(request)
                answer = client.read(QUIET_S)
                assert answer is None or len(answer) <= len(request)


def test_a_large_answer_comes_in_events_of_the_clients_size(notifier: Notifier) -> None:
    before(notifier, *(f"add large 60 TXT {'x' * 100}{number}" for number in range(12)))
    with udp(notifier, key()) as client:
        question = Question(dns.name.from_text("large", ZONE), TXT)
        challenge = option(client.ask(question, Llq(Opcode.SETUP, lease=7200), payload=600))
        request, _ = client.message(question, challenge, payload=600)
        client.write(request)
        found = []
        while wire := client.read(1.0):
            assert len(wire) <= 600
            message = llq.parse(wire)
            assert message.truncated == (option(message).opcode == Opcode.SETUP)
            found += texts(message)
            if option(message).opcode == Opcode.EVENT:
                client.write(llq.acknowledgment(message, option(message)))
        assert len(found) == 12


def test_an_event_is_sent_again_until_acknowledged_and_then_given_up(notifier: Notifier) -> None:
    name = dns.name.from_text("lossy", ZONE)
    with udp(notifier, key()) as client, udp(notifier, key()) as patient:
        granted, _ = client.set_up(Question(name, TXT))
        kept, _ = patient.set_up(Question(name, TXT))
        begun = time.monotonic()
        update(notifier, "add lossy 60 TXT a")
        events = []
        for after_s in (0, 2, 6):
            event = client.event(10.0, acknowledged=False)
            assert event is not None
            assert after_s <= time.monotonic() - begun < after_s + 4
            events.append(event)
        assert patient.told() == ['+lossy "a"']
        assert len({event.id for event in events}) == 1
        assert option(client.ask(Question(name, TXT), Llq(Opcode.REFRESH, granted.id, 7200))).error == Error.NO_ERROR
        # While one is on its way, the next waits.
        update(notifier, "add lossy 60 TXT b")
        told = [patient.told() for _ in range(3)]  # what came three times is read first
        assert told == [*2 * [['+lossy "a"']], ['+lossy "b"']]
        assert client.read(8.8) is None
        refreshed = patient.ask(Question(name, TXT), Llq(Opcode.REFRESH, kept.id, 7200))
        assert option(refreshed).error == Error.NO_ERROR
        refresh = Llq(Opcode.REFRESH, granted.id, 7200)
        wait_for(
            lambda: option(client.ask(Question(name, TXT), refresh)).error == Error.NO_SUCH_LLQ, "it is given up", 5
        )


def test_leases_are_bounded_prolonged_and_ended(notifier: Notifier) -> None:
    question = Question(SSH, PTR)
    with udp(notifier, key()) as client:
        for asked, lease in ((1, 900), (2**32 - 1, 7200), (3600, 3600)):
            granted, _ = client.set_up(question, asked)
            assert granted.lease == lease
            refreshed = option(client.ask(question, Llq(Opcode.REFRESH, granted.id, asked)))
            assert refreshed == Llq(Opcode.REFRESH, granted.id, lease)
        assert option(client.ask(question, Llq(Opcode.REFRESH, granted.id, 0))) == Llq(Opcode.REFRESH, granted.id, 0)
        update(notifier, "add _ssh._tcp 60 PTR gone")
        assert client.read(QUIET_S) is None
        again = option(client.ask(question, Llq(Opcode.REFRESH, granted.id, 3600)))
        assert again.error == Error.NO_SUCH_LLQ


def test_every_error_has_its_code(notifier: Notifier) -> None:
    question = Question(SSH, PTR)
    with udp(notifier, key()) as client:
        setup = Llq(Opcode.SETUP, lease=7200)
        wrong = {
            Llq(Opcode.SETUP, version=2): Error.BAD_VERS,
            Llq(Opcode.REFRESH, 4711, 7200): Error.NO_SUCH_LLQ,
            Llq(Opcode.EVENT, 4711): Error.FORMAT_ERR,
            Llq(9): Error.FORMAT_ERR,
        }
        for asked, error in wrong.items():
            told = option(client.ask(question, asked))
            assert (told.error, told.version) == (error, 1)
        assert option(client.ask(Question(ZONE, NS), setup)).error == Error.STATIC
        assert option(client.ask(Question(SSH, PTR, 3), setup)).error == Error.FORMAT_ERR
        assert option(client.ask(Question(SSH, 252), setup)).error == Error.FORMAT_ERR  # AXFR
        foreign = client.ask(Question(dns.name.from_text("other.example."), A), setup)
        assert (foreign.rcode, option(foreign).error) == (5, Error.UNKNOWN_ERR)
        two, _ = llq.encode(7, [question, question], [setup])
        client.key = None
        client.write(two)
        answer = client.read()
        assert answer is not None
        assert option(llq.parse(answer)).error == Error.FORMAT_ERR


def test_a_client_has_so_many_and_no_more(notifier: Notifier) -> None:
    with tcp(notifier, key("macbook")) as client:
        for number in range(LLQS_PER_CLIENT):
            client.set_up(Question(dns.name.from_text(f"n{number}", ZONE), TXT))
        full = option(client.ask(Question(SSH, PTR), Llq(Opcode.SETUP, lease=7200)))
        assert (full.error, full.lease) == (Error.SERV_FULL, 300)
    time.sleep(QUIET_S)
    with tcp(notifier, key("macbook")) as client:  # with the connection its LLQs have ended
        assert client.set_up(Question(SSH, PTR))[0].error == Error.NO_ERROR


def test_a_private_zone_needs_a_key_of_its_own(notifier: Notifier, tmp_path: Path) -> None:
    question, setup = Question(SSH, PTR), Llq(Opcode.SETUP, lease=7200)
    wrong = ((key(secret="AAAA"), dns.tsig.PeerBadSignature), (key("stranger"), dns.tsig.PeerBadKey))
    for way in (udp, tcp, tls_nobody):
        with way(notifier) as nobody:
            refused = nobody.ask(question, setup)
            assert (refused.rcode, option(refused).error) == (5, Error.UNKNOWN_ERR)
        for shown, fault in wrong:
            with way(notifier, shown) as liar:
                answer = liar.ask(question, setup)
                assert (answer.rcode, answer.llqs, liar.fault) == (NOTAUTH, (), fault)
    with tls(notifier, "stranger") as stranger:  # a certificate of the owner, but BIND has no key of it
        assert stranger.read() is None
        assert stranger.ended
    with tls(notifier, owner=Owner(tmp_path)) as foreign, pytest.raises((ssl.SSLError, ConnectionError)):
        foreign.sock.recv(1)  # TLS 1.3 tells a client of its certificate when it reads


def test_a_host_that_leaves_hears_no_more(notifier: Notifier) -> None:
    name = dns.name.from_text("left", ZONE)
    keys = notifier.directory / "credentials" / "keys.conf"
    text = keys.read_text()
    with (
        udp(notifier, key("macbook")) as client,
        tls_nobody(notifier, key("macbook")) as by_tls,
        udp(notifier, key()) as other,
    ):
        granted, _ = client.set_up(Question(name, TXT))
        for each in (by_tls, other):
            each.set_up(Question(name, TXT))
        keys.write_text("".join(line for line in text.splitlines(keepends=True) if "macbook" not in line))
        notifier.process.send_signal(signal.SIGHUP)
        try:
            assert by_tls.read() is None
            assert by_tls.ended
            update(notifier, "add left 60 TXT secret")
            assert other.told() == ['+left "secret"']
            assert client.read(QUIET_S) is None
            assert client.ask(Question(name, TXT), Llq(Opcode.REFRESH, granted.id, 7200)).rcode == NOTAUTH
            assert client.fault is dns.tsig.PeerBadKey
        finally:
            keys.write_text(text)
            notifier.process.send_signal(signal.SIGHUP)


def test_all_clients_together_have_so_many_and_no_more() -> None:
    with notifying(limits=Limits(llqs=3)) as small, udp(small, key()) as client, tls_nobody(small, key()) as by_tls:
        for number in range(3):
            client.set_up(Question(dns.name.from_text(f"n{number}", ZONE), TXT))
        full = option(client.ask(Question(SSH, PTR), Llq(Opcode.SETUP, lease=7200)))
        assert (full.error, full.lease) == (Error.SERV_FULL, 300)
        assert by_tls.set_up(Question(SSH, PTR))[0].error == Error.NO_ERROR  # each of the two ports has its own


def test_who_lags_too_far_takes_nobody_along() -> None:
    """It is dropped between two of its events; what others are to be told comes all the same, then and later."""
    heavy, light = (Question(dns.name.from_text(label, ZONE), TXT) for label in ("heavy", "light"))
    limits = Limits(queued_bytes=1)
    with notifying(("imac", "macbook"), limits) as own, tls(own) as slow, tls(own, "macbook") as other:
        for _ in range(90):
            slow.set_up(heavy)
        other.set_up(light)
        much = " ".join(["x" * 250] * 60)
        update(own, f"add heavy 60 TXT {much}", "add light 60 TXT first")
        wait_for(lambda: own.status()["llq_tls"]["slow"] == 1, "the slow one is dropped")
        update(own, "add light 60 TXT second")
        assert [*other.told(), *other.told()] == ['+light "first"', '+light "second"']


def test_ordinary_questions_and_garbage_are_no_business_of_ours(notifier: Notifier) -> None:
    with udp(notifier) as client:
        client.write(dns.message.make_query(SSH, "PTR").to_wire())
        answer = client.read()
        assert answer is not None
        assert llq.parse(answer).rcode == 5
        for wire in (b"", b"x", os.urandom(600), b"\0\0\x80" + bytes(9)):
            client.write(wire)
            client.read(0.05)
    with udp(notifier, key()) as client:
        assert client.set_up(Question(SSH, PTR))[0].id
