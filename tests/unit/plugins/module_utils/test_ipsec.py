# SPDX-License-Identifier: GPL-3.0-or-later
"""One description, and what each IPsec program is told of it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import (
    ipsec,
    ipsec_btmm,
    ipsec_racoon,
    ipsec_swanctl,
    racoon_grammar,
    racoon_setkey,
)
from ansible_collections.btmm.fleet.plugins.module_utils.ipsec import InvalidTunnel, Local, Remote, inbound, outbound
from ansible_collections.btmm.fleet.plugins.module_utils.ipsec_racoon import Site
from ansible_collections.btmm.fleet.plugins.module_utils.racoon_lexer import RacoonError
from hypothesis import given
from hypothesis import strategies as st

PREFIX = IPv6Network("fd12:3456:789a::/48")
IMAC = Local("imac.bob.example", PREFIX[1], PREFIX)
MACBOOK = Remote("macbook.bob.example", PREFIX[2], ip_address("203.0.113.131"), 41500)
MACBOOK6 = Remote("macbook.bob.example", PREFIX[2], ip_address("2001:db8::2"))
NAS6 = Remote("nas.bob.example", PREFIX[4], ip_address("2001:db8::4"))
ANSWERED = ipsec.proposals(2, calling=False)
CALLER_ONLY = Remote("iphone.bob.example", PREFIX[3])


# -- strongSwan


def test_a_call_as_vici_takes_it() -> None:
    """vici wants the certificates themselves, where swanctl.conf has the names of their files."""
    assert ipsec_swanctl.connection("peer-x", outbound(IMAC, MACBOOK), b"own", b"owner") == {
        "version": "2",
        "remote_addrs": ["203.0.113.131"],
        "remote_port": "41500",
        "local_port": "4500",
        "encap": "yes",
        "mobike": "yes",
        "dpd_delay": "30s",
        "proposals": ["aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha384-ecp256"],
        "local": {"auth": "pubkey", "certs": [b"own"], "id": "imac.bob.example"},
        "remote": {"auth": "pubkey", "cacerts": [b"owner"], "id": "macbook.bob.example"},
        "children": {
            "peer-x": {
                "mode": "tunnel",
                "local_ts": ["fd12:3456:789a::1/128"],
                "remote_ts": ["fd12:3456:789a::2/128"],
                "esp_proposals": ["aes128gcm16-x25519", "aes256gcm16-ecp256"],
                "copy_df": "no",
                "start_action": "none",
                "dpd_action": "clear",
                "inactivity": "600s",
            }
        },
    }


def test_every_offer_has_an_answer() -> None:
    for version, least in ((1, 1), (2, 2)):
        calls, answers = (ipsec.proposals(version, calling=calling) for calling in (True, False))
        assert set(calls.ike) <= set(answers.ike)
        assert set(calls.esp) <= set(answers.esp)
        assert len(calls.ike) >= least


def test_ikev1_toward_racoon() -> None:
    """As negotiated with racoon in one kernel: aes256-sha256-modp2048, and ESP with SHA-512."""
    found: dict[str, Any] = ipsec_swanctl.connection("m", outbound(IMAC, MACBOOK, version=1), "own.pem", "ca.pem")
    assert found["version"] == "1"
    assert found["proposals"] == ["aes256-sha256-modp2048"]
    assert found["children"]["m"]["esp_proposals"] == ["aes256-sha512-modp2048"]


def test_racoon_over_ipv6_is_called_at_500() -> None:
    """As racoon.conf has it: no ESP in UDP there, and no other port."""
    called: dict[str, Any] = ipsec_swanctl.connection("m", outbound(IMAC, MACBOOK6, version=1), "own.pem", "ca.pem")
    assert (called["local_port"], called["remote_port"], called["encap"]) == ("500", "500", "no")
    called = ipsec_swanctl.connection("m", outbound(IMAC, MACBOOK6), "own.pem", "ca.pem")
    assert (called["local_port"], called["remote_port"], called["encap"]) == ("4500", "4500", "yes")


def test_a_value_with_other_characters_is_quoted() -> None:
    text = ipsec_swanctl.text({"a": inbound(IMAC, ANSWERED)}, 'we#ird "name\\.pem', "ca.pem")
    assert 'certs = "we#ird \\"name\\\\.pem"' in text


@pytest.mark.parametrize("name", ["a.b", "", "a b", "a{"])
def test_a_section_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidTunnel, match="connection's name"):
        ipsec_swanctl.text({name: inbound(IMAC, ANSWERED)}, "own.pem", "ca.pem")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Local("imac\n}", PREFIX[1], PREFIX), "no name of a host"),
        (lambda: Local("imac.example", IPv6Address("fd00::1"), PREFIX), "not in fd12:3456:789a::/48"),
        (lambda: Local("imac.example", PREFIX[1], PREFIX, 0), "port 0"),
        (lambda: Remote("macbook.example", PREFIX[2], None, 65536), "port 65536"),
        (lambda: outbound(IMAC, CALLER_ONLY), "can't be called"),
    ],
)
def test_no_tunnel(make: Any, said: str) -> None:
    with pytest.raises(InvalidTunnel, match=re.escape(said)):
        make()


# -- racoon


def site(system: Any = "bsd", *outer: str) -> Site:
    addresses = tuple(ip_address(each) for each in outer or ("192.0.2.1", "2001:db8::1"))
    return Site(system, IMAC, addresses, "/etc/racoon/certs", "imac.pem", "imac.key", "ca.pem")


def test_racoon_conf_on_bsd() -> None:
    text = ipsec_racoon.configuration(site(), [MACBOOK, CALLER_ONLY])
    assert racoon_grammar.check(text) == ()
    assert "isakmp_natt 192.0.2.1 [4500];" in text
    assert "isakmp 192.0.2.1" not in text  # UDP 500 stays closed on IPv4
    called, _, answering = text.partition("remote anonymous")
    assert "remote 203.0.113.131 [41500] {" in called
    assert "nat_traversal force;" in called
    assert "passive on;" not in called
    assert "passive on;" in answering
    for peer in (MACBOOK, CALLER_ONLY):
        assert f'address {IMAC.ula} any address {peer.ula} any from fqdn "{peer.identity}" {{' in answering
    assert text.count("authentication_algorithm hmac_sha512;") == 2
    assert 'my_identifier fqdn "imac.bob.example";' in text
    assert "sainfo anonymous" not in text  # it would give any peer any address


def test_racoon_conf_on_linux_has_ipv6_outside() -> None:
    text = ipsec_racoon.configuration(site("linux"), [MACBOOK6, CALLER_ONLY])
    assert racoon_grammar.check(text) == ()
    assert "192.0.2.1" not in text
    assert "remote 2001:db8::2 [500] {" in text
    assert "nat_traversal force" not in text


@pytest.mark.parametrize(
    ("where", "peer"),
    [
        (("linux", "192.0.2.1", "2001:db8::1"), MACBOOK),
        (("linux", "192.0.2.1"), CALLER_ONLY),
    ],
)
def test_linux_refuses_ipv6_in_ipv4(where: tuple[str, ...], peer: Remote) -> None:
    for render in (ipsec_racoon.configuration, ipsec_racoon.policies):
        with pytest.raises(InvalidTunnel, match=r"selector of the outer family.*take strongSwan, or IPv6 outside"):
            render(site(*where), [peer])


def test_no_own_address_of_the_peers_family() -> None:
    with pytest.raises(InvalidTunnel, match="no outer address of the family of 2001:db8::2"):
        ipsec_racoon.configuration(site("bsd", "192.0.2.1"), [MACBOOK6])


def test_setkey_policies() -> None:
    text = ipsec_racoon.policies(site(), [MACBOOK, NAS6, CALLER_ONLY])
    racoon_setkey.check(text)
    imac, macbook, nas = (f"fd12:3456:789a::{number}/128" for number in (1, 2, 4))
    assert text.splitlines()[1:] == [
        f"spdadd {imac} {macbook} any -P out ipsec esp/tunnel/192.0.2.1-203.0.113.131/require;",
        f"spdadd {macbook} {imac} any -P in ipsec esp/tunnel/203.0.113.131-192.0.2.1/require;",
        f"spdadd {imac} {nas} any -P out ipsec esp/tunnel/2001:db8::1-2001:db8::4/require;",
        f"spdadd {nas} {imac} any -P in ipsec esp/tunnel/2001:db8::4-2001:db8::1/require;",
    ]


def test_only_what_differs_is_changed() -> None:
    before = ipsec_racoon.policies(site(), [MACBOOK, NAS6])
    after = ipsec_racoon.policies(site(), [NAS6, Remote("ipod.bob.example", PREFIX[5], MACBOOK.address)])
    changes = ipsec_racoon.difference(before, after)
    racoon_setkey.check(before + changes)
    assert changes.splitlines()[:2] == [
        "spddelete fd12:3456:789a::1/128 fd12:3456:789a::2/128 any -P out;",
        "spddelete fd12:3456:789a::2/128 fd12:3456:789a::1/128 any -P in;",
    ]
    assert changes.count("spdadd") == 2
    assert "2001:db8" not in changes
    assert ipsec_racoon.difference(after, after) == ""


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (Remote(MACBOOK.identity, PREFIX[9]), "both have macbook.bob.example"),
        (Remote("x.bob.example", MACBOOK.ula), "x.bob.example and macbook.bob.example both have fd12:3456:789a::2"),
        (Remote("x.bob.example", PREFIX[9], MACBOOK.address, 41500), "both have 203.0.113.131 port 41500"),
        (Remote("x.bob.example", IMAC.ula), "x.bob.example and imac.bob.example"),
        (Remote("x.bob.example", IPv6Address("fd00::1")), "not in fd12:3456:789a::/48"),
    ],
)
def test_no_two_hosts_are_one(second: Remote, said: str) -> None:
    for render in (ipsec_racoon.configuration, ipsec_racoon.policies):
        with pytest.raises(InvalidTunnel, match=re.escape(said)):
            render(site(), [MACBOOK, second])


@pytest.mark.parametrize("name", ['a"; include "/x', "a b", ""])
def test_a_file_name_is_one(name: str) -> None:
    with pytest.raises(InvalidTunnel):
        Site("bsd", IMAC, (ip_address("192.0.2.1"),), "/etc/racoon/certs", name, "imac.key", "ca.pem")


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
OUTER = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PEERS = st.lists(
    st.tuples(LABELS, st.integers(2, 2**80 - 1), st.none() | OUTER, st.integers(1, 65535)),
    max_size=6,
    unique_by=(lambda peer: peer[0], lambda peer: peer[1], lambda peer: peer[2] or peer[0]),
)


@given(st.sampled_from(["linux", "bsd"]), st.lists(OUTER, min_size=1, max_size=3, unique=True), PEERS)
def test_what_is_rendered_is_valid(system: Any, outer: list[Any], drawn: list[tuple[str, int, Any, int]]) -> None:
    there = Site(system, IMAC, tuple(outer), "/etc/racoon/certs", "imac.pem", "imac.key", "ca.pem")
    peers = [Remote(f"{label}.bob.example", PREFIX[number], at, port) for label, number, at, port in drawn]
    try:
        texts = ipsec_racoon.configuration(there, peers), ipsec_racoon.policies(there, peers)
    except InvalidTunnel as error:
        assert "IPv6 outside" in str(error) or "family of" in str(error)  # noqa: PT017 - one of two outcomes
        return
    racoon_grammar.check(texts[0])
    racoon_setkey.check(texts[1] + ipsec_racoon.difference(texts[1], ""))


# -- the original


def test_weak_values_need_a_word() -> None:
    with pytest.raises(InvalidTunnel, match="ask for the weak ones"):
        ipsec_btmm.files(IMAC, [MACBOOK], weak=False)


def test_the_original_is_racoons_but_for_two_statements() -> None:
    files = ipsec_btmm.files(IMAC, [MACBOOK, CALLER_ONLY], weak=True)
    assert list(files) == ["anonymous.conf", "203.0.113.131.41500.conf"]
    called, caller = files.values()
    assert 'shared_secret keychain_by_id "dns:bob.example";' in called
    assert 'my_identifier user_fqdn "dns:bob.example";' in caller
    for text in files.values():
        assert ipsec_btmm.is_ours(text)
        with pytest.raises(RacoonError, match="shared_secret"):
            racoon_grammar.check(text)
        rest = re.sub(r"\n *shared_secret.*", "", text)
        if text is caller:
            with pytest.raises(RacoonError, match="disconnect_on_idle"):
                racoon_grammar.check(rest)
        racoon_grammar.check(re.sub(r"\n *disconnect_on_idle.*", "", rest))


def test_the_original_over_ipv6_lost_its_packets() -> None:
    """As 10.7 wrote it; stock racoon takes it, and no packet arrives."""
    text = ipsec_btmm.files(IMAC, [MACBOOK6], weak=True)["2001:db8::2.conf"]
    with pytest.raises(RacoonError, match="IPv4 sockets"):
        racoon_grammar.check(re.sub(r"\n *(shared_secret|disconnect_on_idle).*", "", text))
