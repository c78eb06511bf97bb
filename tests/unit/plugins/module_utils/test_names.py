# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
from ipaddress import IPv6Address, IPv6Network

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import names
from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName
from hypothesis import given
from hypothesis import strategies as st

ZONE = names.parse_zone("bob.members.example")
ULA = IPv6Address("fd12:3456:789a:0:9:1b2c:3:f4")


@pytest.mark.parametrize("text", ["bob.members.example", "Bob.Members.EXAMPLE.", "bob.members.example."])
def test_a_zone_is_lower_case_and_absolute(text: str) -> None:
    assert names.parse_zone(text).to_text() == "bob.members.example."


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "not a domain"),
        (".", "not a domain"),
        ("bob", "two or more labels"),
        ("a..b", "not a domain"),
        (".a.b", "not a domain"),
        ("b_b.example", "'b_b'"),
        ("-b.example", "'-b'"),
        ("b-.example", "'b-'"),
        ("bob .example", "'bob '"),
        ("bücher.example", "xn--"),
        ("a" * 64 + ".example", "63 letters"),
        (".".join(["a" * 60] * 5), "255 octets"),
    ],
)
def test_what_is_no_zone_is_told_in_one_sentence(text: str, cause: str) -> None:
    with pytest.raises(InvalidName) as caught:
        names.parse_zone(text)
    assert cause in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_zone_of_255_octets_is_one() -> None:
    text = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(names.parse_zone(text).to_wire() or b"") == 255
    with pytest.raises(InvalidName, match="255 octets"):
        names.parse_zone(text + "d")
    with pytest.raises(InvalidName, match="shorten"):
        names.host_name("imac", names.parse_zone(text))


@pytest.mark.parametrize("text", ["", "-a", "a-", "a.b", "a_b", "bob's", "x" * 64, "ü"])
def test_labels_that_no_host_can_have(text: str) -> None:
    with pytest.raises(InvalidName, match="btmm_label"):
        names.check_label(text)


def test_a_label_is_lower_case() -> None:
    assert names.check_label("iMac-2") == "imac-2"


@pytest.mark.parametrize(
    ("text", "full"),
    [("ssh", "_ssh._tcp"), ("_SSH._tcp", "_ssh._tcp"), ("_sip._udp", "_sip._udp"), ("a-1-b", "_a-1-b._tcp")],
)
def test_service_types(text: str, full: str) -> None:
    assert names.service_type(text) == full


@pytest.mark.parametrize(
    "text", ["", "_ssh", "_ssh._sctp", "_._tcp", "ssh.", "a--b", "-a", "a-", "123", "x" * 16, "_a._b._tcp"]
)
def test_texts_that_are_no_service_type(text: str) -> None:
    with pytest.raises(InvalidName, match="service type"):
        names.service_type(text)


def test_the_names_of_a_host() -> None:
    assert names.host_name("imac", ZONE).to_text() == "imac.bob.members.example."
    assert names.tsig_key_name("imac", ZONE) == names.host_name("imac", ZONE)
    assert names.autotunnel_name("imac", ZONE).to_text() == "_autotunnel._udp.imac.bob.members.example."
    target = names.autotunnel_target(ULA, ZONE).to_text()
    assert target == "AutoTunnel-00-09-1B-2C-00-03-00-F4.bob.members.example."
    assert names.service_name("ssh", ZONE).to_text() == "_ssh._tcp.bob.members.example."
    assert names.enumeration_name(ZONE).to_text() == "_services._dns-sd._udp.bob.members.example."
    expected = "4.f.0.0.3.0.0.0.c.2.b.1.9.0.0.0.0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa."
    assert names.reverse_name(ULA).to_text() == expected


def test_a_title_is_one_label_whatever_is_in_it() -> None:
    name = names.instance_name("Bob's i.Mac", "ssh", ZONE)
    assert name.labels[:3] == (b"Bob's i.Mac", b"_ssh", b"_tcp")
    assert name.to_text() == r"Bob's\032i\.Mac._ssh._tcp.bob.members.example."
    assert dns.name.from_text(name.to_text()) == name


def test_a_title_is_normalised_and_counted_in_octets() -> None:
    assert names.check_title("Zoe\u0308") == "Zoë"
    assert names.check_title("ë" * 31) == "ë" * 31
    with pytest.raises(InvalidName, match="64 octets"):
        names.check_title("ë" * 32)


@pytest.mark.parametrize("text", ["", "a\nb", "a\x7f", "\ud800"])
def test_titles_that_cannot_be(text: str) -> None:
    with pytest.raises(InvalidName, match="btmm_title"):
        names.check_title(text)


def test_the_reverse_zone() -> None:
    zone = names.reverse_zone(IPv6Network("fd12:3456:789a::/48"))
    assert zone.to_text() == "a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa."
    assert names.reverse_name(ULA).is_subdomain(zone)
    with pytest.raises(InvalidName, match="multiple of 4"):
        names.reverse_zone(IPv6Network("fd00::/47"))


@given(st.text())
def test_any_text_gives_a_name_or_a_sentence(text: str) -> None:
    for make in (
        names.parse_zone,
        names.check_label,
        names.check_title,
        names.service_type,
        lambda title: names.instance_name(title, "ssh", ZONE),
    ):
        with contextlib.suppress(InvalidName):
            make(text)


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=15))
def test_a_title_survives_text_and_wire(text: str) -> None:
    name = names.instance_name(text, "ssh", ZONE)
    assert name.labels[0].decode() == names.check_title(text)
    assert dns.name.from_text(name.to_text()) == name
    assert dns.name.from_wire(name.to_wire() or b"", 0)[0] == name


@pytest.mark.parametrize(
    "text", ["imac", r"B\252ro._ssh._tcp", r"B\195\188ro._ssh._tcp", "xn--bcher-kva", r"a\.b._http._udp"]
)
def test_utf8_is_for_instances(text: str) -> None:
    names.check_text(dns.name.from_text(text, ZONE))


@pytest.mark.parametrize("text", [r"b\195\188cher", r"a._ss\252._tcp", r"b\252.imac", r"\252._ssh", r"\252._ssh._sctp"])
def test_elsewhere_an_international_label_has_its_ascii_form(text: str) -> None:
    with pytest.raises(InvalidName, match="xn-- form"):
        names.check_text(dns.name.from_text(text, ZONE))


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=6))
def test_any_octets_are_judged_and_survive_text_and_wire(labels: list[bytes]) -> None:
    name = dns.name.Name((*labels, *ZONE.labels))
    with contextlib.suppress(InvalidName):
        names.check_text(name)
    assert dns.name.from_text(name.to_text()) == name
    assert dns.name.from_wire(name.to_wire() or b"", 0)[0] == name
    assert names.folded(name) == names.folded(dns.name.from_text(name.to_text().upper()))
