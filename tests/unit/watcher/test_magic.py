# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stub answers, with a zone of our own behind it and tunnels that only count."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from watcher.errors import TunnelError, ZoneServerError
from watcher.magic import Magic
from watcher.peers import Locator, Vantage
from watcher.uplink import Uplink

if TYPE_CHECKING:
    from dns.message import Message

    from watcher.config import Config
    from watcher.peers import Peer

ZONE = "bob.members.example."
TARGET = f"AutoTunnel-AA.{ZONE}"
RECORDS = {
    (f"imac.{ZONE}", "AAAA"): ("120", "fd12:3456:789a::2"),
    (f"_autotunnel._udp.imac.{ZONE}", "SRV"): ("120", f"0 0 41500 {TARGET}"),
    (TARGET, "A"): ("120", "203.0.113.101"),
    (f"mute.{ZONE}", "AAAA"): ("120", "fd12:3456:789a::3"),
    (f"macbook.{ZONE}", "AAAA"): ("120", "fd12:3456:789a::1"),
    (f"www.{ZONE}", "AAAA"): ("120", "2001:db8::1"),
    (f"deep.host.{ZONE}", "AAAA"): ("120", "fd12:3456:789a::9"),
    (f"_ssh._tcp.{ZONE}", "PTR"): ("4500", f"Bob's\\032iMac._ssh._tcp.{ZONE}"),
}


class Zone:
    """Answers as a zone server would, additional address included."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False

    async def async_exchange(self, message: Message) -> Message:
        await asyncio.sleep(0)
        if self.down:
            raise ZoneServerError("the zone server can't be reached")
        question = message.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{question.name} {kind}")
        answer = dns.message.make_response(message)
        found = RECORDS.get((str(question.name), kind))
        if found:
            answer.answer.append(dns.rrset.from_text(question.name, int(found[0]), "IN", kind, found[1]))
            answer.additional.append(dns.rrset.from_text(f"imac.{ZONE}", 120, "IN", "AAAA", "fd12:3456:789a::2"))
        else:
            exists = any(name == str(question.name) for name, _ in RECORDS)
            answer.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
            soa = f"zone.{ZONE} hostmaster.{ZONE} 1 3600 600 1209600 60"
            answer.authority.append(dns.rrset.from_text(ZONE, 3600, "IN", "SOA", soa))
        return answer


class Counting:
    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.failure: TunnelError | None = None

    async def async_ensure(self, peer: Peer) -> str:
        self.peers.append(peer)
        if self.failure:
            raise self.failure
        return "opened"


class Rig:
    def __init__(self, config: Config) -> None:
        self.zone = Zone()
        self.tunnels = Counting()
        vantage = Vantage(Uplink(IPv4Address("192.168.20.10"), IPv4Address("192.168.20.1")))
        locator = Locator(config, self.zone, lambda: vantage)
        parts: Any = (self.zone, locator, self.tunnels)
        self.magic = Magic(config, *parts)

    async def ask(self, name: str, kind: str = "AAAA", **more: Any) -> Message:
        query = dns.message.make_query(name, kind, use_edns=0, **more)
        answer = await self.magic.async_answer(query)
        assert answer.id == query.id
        assert answer.flags & dns.flags.QR
        return dns.message.from_wire(answer.to_wire())


@pytest.fixture
def rig(config: Config) -> Rig:
    return Rig(config)


async def test_a_peers_address_is_given_after_its_tunnel_is_up(rig: Rig) -> None:
    answer = await rig.ask("imac.bob.members.example")
    assert [str(rrset) for rrset in answer.answer] == [f"imac.{ZONE} 0 IN AAAA fd12:3456:789a::2"]
    (peer,) = rig.tunnels.peers
    assert (peer.label, peer.identity, str(peer.ula)) == ("imac", "imac.bob.members.example", "fd12:3456:789a::2")
    assert [str(way) for way in peer.ways] == ["203.0.113.101:41500 (direct)"]


async def test_names_are_compared_without_case(rig: Rig) -> None:
    RECORDS[(f"IMAC.{ZONE.upper()}", "AAAA")] = RECORDS[(f"imac.{ZONE}", "AAAA")]
    try:
        await rig.ask("IMAC.BOB.MEMBERS.EXAMPLE")
    finally:
        del RECORDS[(f"IMAC.{ZONE.upper()}", "AAAA")]
    assert rig.tunnels.peers[0].identity == "imac.bob.members.example"


async def test_any_counts_as_a_question_for_the_address(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECORDS, (f"imac.{ZONE}", "ANY"), ("120", "x"))
    answer = dns.rrset.from_text(f"imac.{ZONE}", 120, "IN", "AAAA", "fd12:3456:789a::2")
    monkeypatch.setattr(dns.rrset, "from_text", lambda *_: answer)
    await rig.ask("imac.bob.members.example", "ANY")
    assert [peer.label for peer in rig.tunnels.peers] == ["imac"]


@pytest.mark.parametrize("name", ["macbook", "www"])
async def test_own_and_foreign_addresses_need_no_tunnel(rig: Rig, name: str) -> None:
    answer = await rig.ask(f"{name}.{ZONE}")
    assert len(answer.answer) == 1
    assert not rig.tunnels.peers


async def test_other_records_pass_with_short_lives_and_without_additions(rig: Rig) -> None:
    answer = await rig.ask(f"_ssh._tcp.{ZONE}", "PTR")
    assert answer.answer[0].ttl == 5
    assert not answer.additional
    assert not rig.tunnels.peers


async def test_what_does_not_exist_is_said_so_and_not_remembered_long(rig: Rig) -> None:
    answer = await rig.ask(f"nobody.{ZONE}")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.authority[0].ttl == 5
    assert (await rig.ask(f"imac.{ZONE}", "A")).rcode() == dns.rcode.NOERROR


async def test_a_failed_tunnel_is_a_quick_error_with_its_reason(rig: Rig) -> None:
    rig.tunnels.failure = TunnelError("no tunnel to imac")
    answer = await rig.ask(f"imac.{ZONE}")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert not answer.answer
    (option,) = answer.options
    assert isinstance(option, dns.edns.EDEOption)
    assert option.text == "no tunnel to imac"


async def test_repeated_questions_after_a_failure_are_one_attempt(rig: Rig) -> None:
    rig.tunnels.failure = TunnelError("no tunnel to imac")
    for _ in range(5):
        await rig.ask(f"imac.{ZONE}")
    assert len(rig.tunnels.peers) == 1


async def test_a_peer_without_endpoint_may_still_have_called_us(rig: Rig) -> None:
    await rig.ask(f"mute.{ZONE}")
    assert not rig.tunnels.peers[0].ways


async def test_a_fleet_address_at_a_name_that_is_no_host_is_withheld(rig: Rig) -> None:
    answer = await rig.ask(f"deep.host.{ZONE}")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert not answer.answer


async def test_a_zone_server_that_is_away_is_told(rig: Rig) -> None:
    rig.zone.down = True
    answer = await rig.ask(f"imac.{ZONE}")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert "can't be reached" in str(answer.options[0])


async def test_the_own_name_is_answered_while_the_zone_server_is_away(rig: Rig, config: Config) -> None:
    rig.zone.down = True
    answer = await rig.ask(f"macbook.{ZONE}")
    assert [str(rdata) for rdata in answer.answer[0]] == [str(config.host.ula)]
    empty = await rig.ask(f"macbook.{ZONE}", "A")
    assert empty.rcode() == dns.rcode.NOERROR
    assert not empty.answer


@pytest.mark.parametrize(
    ("name", "kind"),
    [("example.com", "AAAA"), ("members.example", "NS"), (ZONE, "AXFR"), (ZONE, "IXFR"), ("2.ip6.arpa", "PTR")],
)
async def test_the_rest_of_the_world_and_transfers_are_refused(rig: Rig, name: str, kind: str) -> None:
    assert (await rig.ask(name, kind)).rcode() == dns.rcode.REFUSED
    assert not rig.zone.asked


async def test_the_reverse_zone_is_served(rig: Rig) -> None:
    await rig.ask("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa", "PTR")
    assert len(rig.zone.asked) == 1


async def test_chaos_class_is_refused(rig: Rig) -> None:
    assert (await rig.ask(f"imac.{ZONE}", "TXT", rdclass="CH")).rcode() == dns.rcode.REFUSED


async def test_only_queries_with_one_question(rig: Rig) -> None:
    query = dns.message.make_query(ZONE, "SOA")
    query.set_opcode(dns.opcode.NOTIFY)
    assert (await rig.magic.async_answer(query)).rcode() == dns.rcode.NOTIMP
    query = dns.message.make_query(ZONE, "SOA")
    query.question.append(dns.rrset.RRset(dns.name.from_text(f"imac.{ZONE}"), dns.rdataclass.IN, dns.rdatatype.AAAA))
    assert (await rig.magic.async_answer(query)).rcode() == dns.rcode.FORMERR
