# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that mean no good, at a real notifier: what they take is bounded, and the others are served."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Rcode
from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

from notifier.config import Limits
from notifier.stream import Limits as StreamLimits
from tests.certificates import Certificate
from tests.named import ADDRESS
from tests.notifier import SERVER_NAME, ZONE, Notifier, notifying, wait_for
from tests.unit.notifier.test_push_server import PTR, SSH, TXT, Client, update

MANY = 10_000
SLACK_KB = 8_000  # what the process may take for other reasons


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    with notifying(hosts=("imac", "macbook")) as running:
        yield running


@contextlib.contextmanager
def served(notifier: Notifier) -> Iterator[None]:
    """Another host is subscribed, and hears of a change while the block's mischief lasts."""
    with Client(notifier, notifier.host("macbook")) as client:
        client.begin().subscribe(dns.name.from_text("good", ZONE), TXT)
        yield
        update(notifier, f"add good 60 TXT t{time.monotonic_ns()}")
        begun = time.monotonic()  # how long BIND takes is not the notifier's
        assert client.pushed()
        assert time.monotonic() - begun < 4


def test_half_open_handshakes_give_way_and_take_little(notifier: Notifier) -> None:
    before_kb = notifier.resident_kb
    opened = [socket.create_connection((ADDRESS, notifier.ports.push)) for _ in range(1_000)]
    try:
        with served(notifier), Client(notifier, notifier.host("imac")) as late:
            late.begin()
        assert notifier.resident_kb - before_kb < SLACK_KB + StreamLimits().half_open * 60
    finally:
        for sock in opened:
            sock.close()


@pytest.mark.timeout(300)
def test_ten_thousand_sessions_of_one_host_are_not_taken(notifier: Notifier) -> None:
    """One client's limit is 32: the others of its sessions are cut off as soon as it has shown who it is."""
    imac, before_kb = notifier.host("imac"), notifier.resident_kb
    command = [
        sys.executable,
        "-c",
        _FLOOD.format(
            count=MANY, port=notifier.ports.push, name=SERVER_NAME, c=imac, most=Limits().sessions_per_address
        ),
    ]
    with served(notifier), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        alive = int(flood.communicate(timeout=240)[0])
        assert alive <= Limits().sessions_per_address
        assert notifier.resident_kb - before_kb < SLACK_KB


_FLOOD = """
import resource, socket, ssl, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
context = ssl.create_default_context(cafile="{c.ca}")
context.load_cert_chain("{c.certificate}", "{c.key}")
held = []
for _ in range({count}):
    plain = socket.create_connection(("127.0.0.1", {port}))
    try:
        held.append(context.wrap_socket(plain, server_hostname="{name}"))
    except OSError:
        plain.close()
def alive(sock):
    sock.settimeout(0.001)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    except OSError:
        pass
    return False
end = time.monotonic() + 30
while len(held) > {most} and time.monotonic() < end:
    held = [sock for sock in held if alive(sock)]
print(len(held))
"""


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\n\r\n" * 100, bytes(100_000), b"\x16\x03\x01\xff\xff" + bytes(70_000)]
)
def test_garbage_instead_of_a_handshake_is_cut_off(notifier: Notifier, octets: bytes) -> None:
    with served(notifier):
        for _ in range(50):
            sock = socket.create_connection((ADDRESS, notifier.ports.push), timeout=5)
            with sock, contextlib.suppress(ConnectionError):
                sock.sendall(octets)
                while sock.recv(1000):
                    pass


def test_a_huge_message_is_not_even_taken(notifier: Notifier) -> None:
    imac = notifier.host("imac")
    with served(notifier):
        before_kb = notifier.resident_kb
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(notifier, imac)) for _ in range(20)]
            for client in clients:
                with contextlib.suppress(OSError):
                    client.begin().sock.sendall(b"\xff\xff" + bytes(65_534))
            assert [client.read() for client in clients] == [None] * 20
        assert notifier.resident_kb - before_kb < SLACK_KB


def test_a_message_that_never_ends_takes_no_more_than_its_limit(notifier: Notifier) -> None:
    imac = notifier.host("imac")
    with served(notifier), Client(notifier, imac) as client:
        client.begin().sock.sendall((4096).to_bytes(2, "big") + bytes(100))
        assert client.silent()


def test_a_slow_reader_is_dropped_and_not_buffered(notifier: Notifier) -> None:
    """It asks for large answers again and again, and reads none of them."""
    update(notifier, *(f"add _big._tcp 60 PTR {'x' * 60}{number}._big._tcp" for number in range(400)))
    name = dns.name.from_text("_big._tcp", ZONE)
    imac = notifier.host("imac")
    with served(notifier), Client(notifier, imac) as slow:
        before_kb = notifier.resident_kb
        slow.begin()
        with contextlib.suppress(OSError):  # reset; TLS may call it an end of file
            slow.sock.settimeout(30)
            for number in range(100, 1_500):
                slow.write(dso.encode([push.subscribe(Question(name, PTR))], number))
                slow.write(dso.encode([push.unsubscribe(number)]))
        wait_for(lambda: notifier.status()["push"]["slow"] == 1, "the slow one is dropped", 30)
        assert notifier.resident_kb - before_kb < SLACK_KB


def test_a_flood_of_messages_ends_the_session(notifier: Notifier) -> None:
    imac = notifier.host("imac")
    with served(notifier), Client(notifier, imac) as client:
        wire = dso.encode([dso.keepalive(Keepalive(0, 60_000))], 7)
        client.sock.sendall((len(wire).to_bytes(2, "big") + wire) * 3_000)
        last = None
        while (message := client.read()) is not None and message.response:
            last = message
        assert last is not None
        assert message is not None
        assert (message.primary.type, message.rcode) == (dso.Type.RETRY_DELAY, Rcode.REFUSED)


def test_subscriptions_of_a_session_have_a_limit() -> None:
    with notifying(limits=Limits(subscriptions_per_session=5)) as notifier, Client(notifier, notifier.host()) as client:
        client.begin()
        for number in range(5):
            client.subscribe(dns.name.from_text(f"n{number}", ZONE), TXT)
        answer = client.ask(push.subscribe(Question(SSH, TXT)))
        assert (answer.rcode, dso.parse_retry_delay(answer)) == (Rcode.REFUSED, 300_000)


def test_subscriptions_of_a_client_have_a_limit_in_all_its_sessions() -> None:
    limits = Limits(subscriptions_per_client=3)
    with notifying(("imac", "macbook"), limits) as notifier, contextlib.ExitStack() as stack:
        first, second, other = (
            stack.enter_context(Client(notifier, notifier.host(label))).begin() for label in ("imac", "imac", "macbook")
        )
        names = [dns.name.from_text(f"n{number}", ZONE) for number in range(4)]
        granted = [client.subscribe(name, TXT) for client, name in zip((first, first, second), names, strict=False)]
        answer = second.ask(push.subscribe(Question(names[3], TXT)))
        assert (answer.rcode, dso.parse_retry_delay(answer)) == (Rcode.SERVFAIL, 60_000)
        other.subscribe(names[3], TXT)
        first.tell(push.unsubscribe(granted[0]))
        assert first.ask(dso.keepalive(Keepalive(0, 60_000))).rcode == Rcode.NOERROR  # so it has arrived
        second.subscribe(names[3], TXT)


def test_who_comes_when_there_are_too_many_is_asked_to_come_later() -> None:
    with notifying(limits=Limits(sessions=2)) as notifier, contextlib.ExitStack() as stack:
        imac: Certificate = notifier.host()
        first, _ = (stack.enter_context(Client(notifier, imac)).begin() for _ in range(2))
        for asks in (dso.keepalive(Keepalive(0, 60_000)), push.subscribe(Question(SSH, PTR))):
            with Client(notifier, imac) as surplus:
                answer = surplus.ask(asks)
                if asks.type == push.Type.SUBSCRIBE:
                    assert (answer.rcode, dso.parse_retry_delay(answer)) == (Rcode.SERVFAIL, 60_000)
                    continue
                told = surplus.read()
                assert told is not None
                assert (told.primary.type, told.rcode) == (dso.Type.RETRY_DELAY, Rcode.SERVFAIL)
        first.subscribe(SSH, PTR)  # those who are in are served


def test_a_client_without_keepalives_or_use_is_cut_off() -> None:
    """The least inactivity is none: five seconds later the session ends (RFC 8490 section 6.4.1)."""
    with notifying() as notifier, Client(notifier, notifier.host()) as used:
        used.ask(dso.keepalive(Keepalive(0, 30_000)))
        used.subscribe(SSH, PTR)
        begun = time.monotonic()
        with Client(notifier, notifier.host()) as idle:
            idle.ask(dso.keepalive(Keepalive(0, 30_000)))
            assert idle.read(20) is None
            assert 5 <= time.monotonic() - begun < 20
        assert used.silent()  # a subscription is use
