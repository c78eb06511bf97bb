# SPDX-License-Identifier: GPL-3.0-or-later
"""The Push server as a process beside a real BIND, spoken to in octets: RFC 8490 and RFC 8765, rule by rule."""

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

import dns.name
import dns.rdata
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Rcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import ANY, REMOVE, REMOVE_ALL, Question

from notifier.config import Limits
from notifier.push_session import CLOSE_WITHIN_S
from tests.certificates import Certificate, Owner
from tests.named import ADDRESS
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying, wait_for

SSH = dns.name.from_text("_ssh._tcp", ZONE)
PTR, TXT, A, SRV, CNAME = 12, 16, 1, 33, 5
QUIET_S = 0.3  # so long after something we look whether nothing came


@pytest.fixture(scope="module")
def notifier() -> Iterator[Notifier]:
    with notifying(hosts=("imac", "macbook"), limits=Limits(sessions_per_address=64)) as running:
        yield running


@pytest.fixture(scope="module")
def imac(notifier: Notifier) -> Certificate:
    return notifier.host("imac")


class Client:
    """A TLS connection on which every octet is ours."""

    def __init__(self, notifier: Notifier, shown: Certificate | None, trusted: Path | None = None) -> None:
        context = ssl.create_default_context(cafile=str(trusted or notifier.owner.ca))
        context.set_alpn_protocols(["dot"])
        if shown:
            context.load_cert_chain(shown.certificate, shown.key)
        plain = socket.create_connection((ADDRESS, notifier.ports.push), timeout=5)
        self.sock = context.wrap_socket(plain, server_hostname=SERVER_NAME)
        self._number = 0
        self._left = b""
        self.wire = b""  # the last message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def write(self, wire: bytes) -> None:
        self.sock.sendall(len(wire).to_bytes(2, "big") + wire)

    def read(self, within_s: float = 5.0) -> dso.Message | None:
        """Return the next message; None when the server has closed or aborted. Silence is an error."""
        self.sock.settimeout(within_s)
        try:
            while len(self._left) < 2 or len(self._left) < 2 + int.from_bytes(self._left[:2], "big"):
                more = self.sock.recv(65536)
                if not more:
                    return None
                self._left += more
        except ConnectionError:
            return None
        end = 2 + int.from_bytes(self._left[:2], "big")
        self.wire, self._left = self._left[2:end], self._left[end:]
        return dso.parse(self.wire)

    def query(self, wire: bytes) -> bytes:
        """Send a query, which is not DSO, and return the answer."""
        self.write(wire)
        with pytest.raises(dso.NotDsoError):
            self.read()
        return self.wire

    def silent(self) -> bool:
        with contextlib.suppress(TimeoutError):
            self.read(QUIET_S)
            return False
        return True

    def ask(self, *tlvs: dso.Tlv, block: int = 0) -> dso.Message:
        self._number += 1
        self.write(dso.encode(tlvs, self._number, block=block))
        answer = self.read()
        assert answer is not None, "the server has closed"
        assert (answer.response, answer.id) == (True, self._number)
        return answer

    def tell(self, tlv: dso.Tlv) -> None:
        self.write(dso.encode([tlv]))

    def begin(self) -> Client:
        dso.dictated(self.ask(dso.keepalive(Keepalive(20_000, 600_000))))
        return self

    def subscribe(self, name: dns.name.Name, rdtype: int, rdclass: int = 1) -> int:
        assert self.ask(push.subscribe(Question(name, rdtype, rdclass))).rcode == Rcode.NOERROR
        return self._number

    def pushed(self) -> list[str]:
        message = self.read()
        assert message is not None
        assert (message.unidirectional, message.primary.type) == (True, push.Type.PUSH)
        return [shown(change) for change in push.parse_push(message)]


def shown(change: push.Change) -> str:
    ttl = {REMOVE: "-", REMOVE_ALL: "--"}.get(change.ttl, str(change.ttl))
    rdata = f" {change.rdata}" if change.rdata else ""
    return f"{change.name.relativize(ZONE)} {change.rdtype} {ttl}{rdata}"


def update(notifier: Notifier, *lines: str) -> None:
    """Change the zone by one message: `add NAME TTL TYPE RDATA`, `delete NAME [TYPE [RDATA]]`."""
    message = dns.update.UpdateMessage(ZONE)
    for line in lines:
        verb, name, rest = (*line.split(" ", 2), "")[:3]
        if verb == "add":
            ttl, kind, value = rest.split(" ", 2)
            message.add(name, int(ttl), dns.rdata.from_text("IN", kind, value))
        else:
            message.delete(name, *rest.split(" ", 1) if rest else ())
    notifier.named.update(message)


def test_what_is_there_comes_at_once_and_changes_after_it(notifier: Notifier, imac: Certificate) -> None:
    update(notifier, "add a1._ssh._tcp 120 TXT x", "add _ssh._tcp 4500 PTR a1._ssh._tcp")
    with Client(notifier, imac) as client:
        client.begin().subscribe(SSH, PTR)
        assert client.pushed() == ["_ssh._tcp 12 4500 a1._ssh._tcp.bob.members.example."]
        update(notifier, "add _ssh._tcp 4500 PTR a2._ssh._tcp", "add a2._ssh._tcp 120 TXT y")
        assert client.pushed() == ["_ssh._tcp 12 4500 a2._ssh._tcp.bob.members.example."]
        update(notifier, "delete _ssh._tcp PTR a1._ssh._tcp.bob.members.example.")
        assert client.pushed() == ["_ssh._tcp 12 - a1._ssh._tcp.bob.members.example."]
        update(notifier, "delete _ssh._tcp PTR")
        assert client.pushed() == ["_ssh._tcp 255 --"]  # nothing is left at the name, in the shortest form


def test_a_name_that_does_not_exist_can_be_subscribed_to(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.begin().subscribe(dns.name.from_text("later", ZONE), A)  # never NXDOMAIN: section 6.2.1
        assert client.silent()
        update(notifier, "add LATER 60 A 192.0.2.7")
        assert [text.lower() for text in client.pushed()] == ["later 1 60 192.0.2.7"]


def test_a_changed_ttl_is_an_addition(notifier: Notifier, imac: Certificate) -> None:
    update(notifier, "add ttl 60 A 192.0.2.8")
    with Client(notifier, imac) as client:
        client.begin().subscribe(dns.name.from_text("ttl", ZONE), A)
        assert client.pushed() == ["ttl 1 60 192.0.2.8"]
        update(notifier, "add ttl 90 A 192.0.2.8")
        assert client.pushed() == ["ttl 1 90 192.0.2.8"]


def test_a_replaced_set_is_removed_as_a_whole(notifier: Notifier, imac: Certificate) -> None:
    update(notifier, "add set 60 A 192.0.2.1", "add set 60 A 192.0.2.2", "add set 60 TXT x")
    with Client(notifier, imac) as client:
        client.begin().subscribe(dns.name.from_text("set", ZONE), A)
        assert sorted(client.pushed()) == ["set 1 60 192.0.2.1", "set 1 60 192.0.2.2"]
        update(notifier, "delete set A", "add set 60 A 192.0.2.3")
        assert client.pushed() == ["set 1 --", "set 1 60 192.0.2.3"]
        update(notifier, "delete set A")  # TXT stays, and is not ours to remove
        assert client.pushed() == ["set 1 --"]


def test_any_is_all_types_and_one_change_comes_once(notifier: Notifier, imac: Certificate) -> None:
    name = dns.name.from_text("all", ZONE)
    with Client(notifier, imac) as client:
        client.begin().subscribe(name, ANY, ANY)
        client.subscribe(name, TXT)
        client.subscribe(name, TXT, ANY)  # the same, but in all classes: another subscription
        update(notifier, "add all 60 TXT x", "add all 60 A 192.0.2.1")
        assert sorted(client.pushed()) == ["all 1 60 192.0.2.1", 'all 16 60 "x"']
        assert client.silent()


def test_a_cname_is_told_to_subscribers_of_other_types(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.begin().subscribe(dns.name.from_text("alias", ZONE), A)
        update(notifier, "add alias 60 CNAME imac")
        assert client.pushed() == ["alias 5 60 imac.bob.members.example."]


def test_several_changes_of_one_step_are_one_message(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.begin().subscribe(dns.name.from_text("s1", ZONE), TXT)
        client.subscribe(dns.name.from_text("s2", ZONE), TXT)
        update(notifier, "add s1 60 TXT a", "add s2 60 TXT b", "add s3 60 TXT c")
        assert sorted(client.pushed()) == ['s1 16 60 "a"', 's2 16 60 "b"']


def test_an_unsubscribed_name_is_silent_and_may_come_back(notifier: Notifier, imac: Certificate) -> None:
    name = dns.name.from_text("unsub", ZONE)
    with Client(notifier, imac) as client:
        number = client.begin().subscribe(name, TXT)
        client.tell(push.unsubscribe(number))
        client.tell(push.unsubscribe(4711))  # unknown: silently ignored (section 6.4.1)
        update(notifier, "add unsub 60 TXT a")
        assert client.silent()
        client.subscribe(name, TXT)
        assert client.pushed() == ['unsub 16 60 "a"']


def test_a_large_answer_comes_in_messages_within_the_limit(notifier: Notifier, imac: Certificate) -> None:
    update(notifier, *(f"add _big._tcp 60 PTR {'x' * 50}{number}._big._tcp" for number in range(500)))
    found = 0
    with Client(notifier, imac) as client:
        client.begin().subscribe(dns.name.from_text("_big._tcp", ZONE), PTR)
        while found < 500:
            message = client.read()
            assert message is not None
            assert len(message.wire) <= push.MAX_PUSH
            found += len(push.parse_push(message))
    assert found == 500


def test_padding_is_answered_with_padding(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        name = dns.name.from_text("padded", ZONE)
        answers = [client.ask(dso.keepalive(Keepalive(0, 60_000)), block=128)]
        answers.append(client.ask(push.subscribe(Question(name, TXT)), block=128))
        update(notifier, "add padded 60 TXT a")
        pushed = client.read()
        assert pushed is not None
        assert all(message.padded and len(message.wire) % 468 == 0 for message in (*answers, pushed))
    with Client(notifier, imac) as client:
        assert not client.ask(dso.keepalive(Keepalive(0, 60_000))).padded


@pytest.mark.parametrize(
    ("wished", "granted"),
    [
        ((20_000, 600_000), (20_000, 600_000)),
        ((0, 0), (0, 30_000)),
        ((dso.FOREVER_MS, dso.FOREVER_MS), (30_000, 3_600_000)),
    ],
)
def test_the_server_chooses_the_timeouts(
    notifier: Notifier, imac: Certificate, wished: tuple[int, int], granted: tuple[int, int]
) -> None:
    with Client(notifier, imac) as client:
        assert dso.dictated(client.ask(dso.keepalive(Keepalive(*wished)))) == Keepalive(*granted)


def test_a_subscription_may_be_the_first_message(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.subscribe(dns.name.from_text("first", ZONE), TXT)


@pytest.mark.parametrize(
    ("question", "rcode", "delay_ms"),
    [
        (Question(dns.name.from_text("alice.members.example"), PTR), Rcode.NOTAUTH, 300_000),
        (Question(SSH, PTR, 3), Rcode.NOTAUTH, 300_000),  # class CH
        (Question(SSH, 252), Rcode.FORMERR, 300_000),  # AXFR is no type of records
    ],
)
def test_refusals_say_how_long_to_stay_away(
    notifier: Notifier, imac: Certificate, question: Question, rcode: Rcode, delay_ms: int
) -> None:
    with Client(notifier, imac) as client:
        answer = client.begin().ask(push.subscribe(question))
        assert (answer.rcode, dso.parse_retry_delay(answer)) == (rcode, delay_ms)
        client.subscribe(SSH, TXT)  # the session goes on


def test_an_unknown_request_gets_dsotypeni(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        answer = client.ask(dso.Tlv(0xF800, b"?"))
        assert (answer.rcode, [tlv.type for tlv in answer.tlvs]) == (Rcode.DSOTYPENI, [dso.Type.RETRY_DELAY])
        client.begin()


def test_unknown_additional_tlvs_are_ignored(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        assert client.ask(dso.keepalive(Keepalive(0, 60_000)), dso.Tlv(0xF800, b"?")).rcode == Rcode.NOERROR


def test_a_question_of_another_opcode_gets_notimp(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.begin().write(bytes.fromhex("1234 0100 0001 0000 0000 0000 00 0001 0001"))
        with pytest.raises(dso.NotDsoError) as caught:
            client.read()
        assert (caught.value.id, caught.value.opcode, caught.value.response) == (0x1234, 0, True)


def test_counts_in_the_header_get_formerr(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.write(bytes.fromhex("1234 3000 0001 0000 0000 0000 0001 0008 00003a98 00003a98"))
        answer = client.read()
        assert answer is not None
        assert (answer.id, answer.rcode) == (0x1234, Rcode.FORMERR)


HEADER, UNIDIRECTIONAL = "0001 3000 0000 0000 0000 0000", "0000 3000 0000 0000 0000 0000"


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "0001 3000",
        HEADER,  # no TLV
        f"{HEADER} 0001 ffff 00",  # longer than its message
        f"{HEADER} 0001 0004 00000000",  # a Keepalive of half the size
        f"{UNIDIRECTIONAL} 0001 0008 00003a98 00003a98",  # a Keepalive without message ID (RFC 8490 section 7.1)
        f"{UNIDIRECTIONAL} 0002 0004 00000000",  # Retry Delay is the server's (section 7.2.1)
        f"{HEADER} 0002 0004 00000000",
        f"{UNIDIRECTIONAL} 0041 000b 00 0001 0001 00000000 0000",  # and so is PUSH (RFC 8765 section 6.3)
        f"{UNIDIRECTIONAL} f800 0000",  # unknown, and no way to say so (RFC 8490 section 5.4.5)
        f"{UNIDIRECTIONAL} 0040 0005 00 0001 0001",  # SUBSCRIBE is a request
        f"{HEADER} 0042 0002 0001",  # UNSUBSCRIBE is none
        f"{UNIDIRECTIONAL} 0042 0001 00",
        f"{UNIDIRECTIONAL} 0043 0009 00 00ff 0001 00000000",  # RECONFIRM of ANY (RFC 8765 section 6.5.1)
        f"{HEADER} 0040 0004 00 0001 00",
        "0001 b000 0000 0000 0000 0000",  # a response to nothing
        "0000 b000 0000 0000 0000 0000",
    ],
)
def test_what_breaks_the_protocol_aborts_the_session(notifier: Notifier, imac: Certificate, octets: str) -> None:
    with Client(notifier, imac) as client:
        client.begin().write(bytes.fromhex(octets))
        assert client.read() is None


def test_unidirectional_messages_before_the_session_abort(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.tell(push.unsubscribe(1))
        assert client.read() is None


@pytest.mark.parametrize("name", ["_ssh._tcp", "_SSH._TCP"])
def test_the_same_subscription_twice_aborts(notifier: Notifier, imac: Certificate, name: str) -> None:
    with Client(notifier, imac) as client:
        client.begin().subscribe(SSH, SRV)
        client.write(dso.encode([push.subscribe(Question(dns.name.from_text(name, ZONE), SRV))], 9))
        assert client.read() is None


def test_a_message_id_in_use_aborts(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        number = client.begin().subscribe(SSH, SRV)
        client.write(dso.encode([push.subscribe(Question(SSH, TXT))], number))
        assert client.read() is None


def test_an_aborted_session_is_reset(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.begin().write(b"")
        with socket.socket(fileno=os.dup(client.sock.fileno())) as below:
            below.settimeout(5)
            with pytest.raises(ConnectionResetError):
                below.recv(100)  # RST, not FIN: RFC 8490 section 5.3


def test_reconfirm_fetches_what_no_notify_told() -> None:
    name = dns.name.from_text("again", ZONE)
    with notifying(notified=False) as own, Client(own, own.host()) as client:
        client.begin().subscribe(name, A)
        update(own, "add again 60 A 192.0.2.9")
        assert client.silent()
        client.tell(push.reconfirm(name, dns.rdata.from_text("IN", "A", "192.0.2.8")))
        assert client.pushed() == ["again 1 60 192.0.2.9"]


def test_a_host_of_another_owner_is_not_let_in(notifier: Notifier, tmp_path: Path) -> None:
    stranger = Owner(tmp_path, "alice.members.example").host("imac")
    with pytest.raises(OSError, match=r"(?i)unknown ca|reset|eof"):  # noqa: SIM117
        with Client(notifier, stranger) as client:
            client.ask(dso.keepalive(Keepalive(0, 60_000)))


def test_a_host_without_a_key_in_the_zone_is_not_let_in(notifier: Notifier) -> None:
    with Client(notifier, notifier.host("stolen")) as client:
        assert client.read() is None


def test_a_host_that_leaves_is_asked_to_go(notifier: Notifier) -> None:
    """Its key goes from the file that BIND has, too, and the daemon is told to read that again."""
    with Client(notifier, notifier.host("macbook")) as client:
        client.begin().subscribe(SSH, TXT)
        keys = notifier.directory / "credentials" / "keys.conf"
        text = keys.read_text()
        keys.write_text("".join(line for line in text.splitlines(keepends=True) if "macbook" not in line))
        notifier.process.send_signal(signal.SIGHUP)
        message = client.read()
        assert message is not None
        assert (message.primary.type, message.rcode) == (dso.Type.RETRY_DELAY, Rcode.NOTAUTH)
        update(notifier, "add _ssh._tcp 60 TXT secret")
        assert client.silent()  # nothing after a Retry Delay (RFC 8490 section 6.6.1)
        assert client.read(7.0) is None  # who does not go within five seconds is cut off
        keys.write_text(text)
        notifier.process.send_signal(signal.SIGHUP)


def test_figures_are_in_the_status(notifier: Notifier, imac: Certificate) -> None:
    with Client(notifier, imac) as client:
        client.begin().subscribe(SSH, TXT)
        wait_for(lambda: notifier.status()["push"]["subscriptions"] >= 1, "the status counts a subscription", 15)
        assert set(notifier.status()["push"]) == {"port", "sessions", "subscriptions", "events", "refused", "slow"}


def test_all_are_asked_to_come_back_when_the_server_stops() -> None:
    with notifying() as own, contextlib.ExitStack() as stack:
        certificate = own.host()
        clients = [stack.enter_context(Client(own, certificate)).begin() for _ in range(5)]
        for client in clients:
            client.subscribe(SSH, PTR)
        begun = time.monotonic()
        own.process.send_signal(signal.SIGTERM)
        delays = []
        for client in clients:
            message = client.read()
            assert message is not None
            assert (message.primary.type, message.rcode) == (dso.Type.RETRY_DELAY, Rcode.NOERROR)
            delays.append(dso.parse_retry_delay(message))
            client.sock.close()
        assert len(set(delays)) > 1  # not all at once
        own.process.wait(30)
        assert time.monotonic() - begun < CLOSE_WITHIN_S  # since all have gone
