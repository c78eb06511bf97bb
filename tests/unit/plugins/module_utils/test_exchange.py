# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names, update
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server, Unreachable
from ansible_collections.btmm.fleet.plugins.module_utils.records import Record

from tests.unit.primary import SECRET, Primary, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = names.parse_zone("bob.members.example")
KEY = dns.tsig.Key("_admin.bob.members.example.", SECRET, "hmac-sha256")


@pytest.fixture
def primary() -> Iterator[Primary]:
    lines = ["@ 60 NS ns", "ns 60 A 192.0.2.1", "_ssh._tcp 4500 PTR a._ssh._tcp", "_ssh._tcp 4500 PTR b._ssh._tcp"]
    with serving(Primary(ZONE, lines, KEY)) as started:
        yield started


def server(port: int, **more: object) -> Server:
    return Server("127.0.0.1", port, timeout_s=2, **more)  # type: ignore[arg-type]


def test_several_messages_share_a_connection(primary: Primary) -> None:
    with Exchange(server(primary.port), KEY) as exchange:
        name = names.service_name("ssh", ZONE)
        found = exchange.lookup(name, dns.rdatatype.PTR)
        assert [record.shared for record in found] == [True, True]
        assert exchange.lookup(name, dns.rdatatype.TXT) == []
        exchange.send(update.change(ZONE, [Record.from_text("new 60 A 192.0.2.2", ZONE)]))
    assert "new 60 A 192.0.2.2" in primary.text()


def test_a_transfer_has_every_record_and_the_soa_once(primary: Primary) -> None:
    with Exchange(server(primary.port), KEY) as exchange:
        found = exchange.transfer(ZONE)
    assert len(found) == 5
    assert {record.to_text() for record in found} == {record.to_text() for record in primary.records}


def test_a_refusal_is_typed(primary: Primary) -> None:
    primary.rcode = dns.rcode.REFUSED
    with Exchange(server(primary.port), KEY) as exchange:
        with pytest.raises(update.UpdateRefused):
            exchange.transfer(ZONE)
        with pytest.raises(update.UpdateRefused):
            exchange.lookup(ZONE, dns.rdatatype.SOA)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot be reached"):
        Exchange(server(port), KEY)


def test_a_server_that_hangs_up_or_has_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]

        def hang_up() -> None:
            for _ in range(2):
                bound.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with Exchange(server(port), KEY) as exchange, pytest.raises(Unreachable):
            exchange.lookup(ZONE, dns.rdatatype.SOA)
        with pytest.raises(Unreachable, match="no TLS that can be trusted"):
            Exchange(server(port, tls=True, hostname="ns.bob.members.example"), KEY)
        thread.join()


def test_a_silent_server_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as bound,
        Exchange(Server("127.0.0.1", bound.getsockname()[1], timeout_s=0.05), KEY) as exchange,
        pytest.raises(Unreachable, match=r"within 0\.05 s"),
    ):
        exchange.lookup(ZONE, dns.rdatatype.SOA)


def test_too_much_for_one_message(primary: Primary) -> None:
    many = [Record.from_text(f"h{number} 60 TXT {'x' * 250}", ZONE) for number in range(300)]
    with Exchange(server(primary.port), KEY) as exchange, pytest.raises(update.UpdateRejected, match="65535 octets"):
        exchange.send(update.change(ZONE, many))
    assert not primary.updates


def test_many_questions_are_on_their_way_at_once(primary: Primary) -> None:
    with Exchange(server(primary.port), KEY) as exchange:
        found = exchange.lookups([(names.host_name(f"h{n}", ZONE), dns.rdatatype.A) for n in range(40)])
        assert found == [[]] * 40
        (asked,) = exchange.lookups([(names.service_name("ssh", ZONE), dns.rdatatype.PTR)])
    assert len(asked) == 2


def test_answers_come_in_the_order_of_the_messages_and_failures_in_their_place(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [dns.rcode.NOERROR, dns.rcode.REFUSED, dns.rcode.SERVFAIL, dns.rcode.NOERROR]

    def messages() -> Iterator[dns.message.Message]:
        for number, code in enumerate(codes):
            primary_codes.append(code)
            yield update.change(ZONE, [Record.from_text(f"h{number} 60 A 192.0.2.{number}", ZONE)])

    primary_codes: list[dns.rcode.Rcode] = []
    monkeypatch.setattr(primary, "judge", lambda _: primary_codes.pop(0))
    with Exchange(server(primary.port), KEY) as exchange:
        answers = list(exchange.send_all(messages()))
    kinds = [type(answer) for answer in answers]
    assert kinds == [dns.update.UpdateMessage, update.UpdateRefused, update.ServerFailed, dns.update.UpdateMessage]


def test_a_message_that_is_too_large_does_not_stop_the_others(primary: Primary) -> None:
    many = [Record.from_text(f"h{number} 60 TXT {'x' * 250}", ZONE) for number in range(300)]
    with Exchange(server(primary.port), KEY) as exchange:
        first, second = exchange.send_all([update.change(ZONE, many), update.change(ZONE, many[:1])])
    assert isinstance(first, update.UpdateRejected)
    assert isinstance(second, dns.message.Message)
    assert len(primary.updates) == 1


def test_messages_with_one_number_are_told_apart(primary: Primary) -> None:
    twins = [update.change(ZONE, [Record.from_text(f"h{n} 60 A 192.0.2.{n}", ZONE)]) for n in range(3)]
    for twin in twins:
        twin.id = 7
    with Exchange(server(primary.port), KEY) as exchange:
        assert all(isinstance(answer, dns.message.Message) for answer in exchange.send_all(twins))
    assert len(primary.updates) == 3


def test_the_zone_of_a_name(primary: Primary) -> None:
    with Exchange(server(primary.port), KEY) as exchange:
        assert exchange.zone_of(ZONE) == ZONE
        assert exchange.zone_of(names.host_name("nobody", ZONE)) == ZONE
        with pytest.raises(update.NotAuthoritative, match="no zone with"):
            exchange.zone_of(names.parse_zone("example.org"))
        primary.rcode = dns.rcode.REFUSED
        with pytest.raises(update.NotAuthoritative, match="may not ask"):
            exchange.zone_of(ZONE)
