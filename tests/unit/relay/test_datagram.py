# SPDX-License-Identifier: GPL-3.0-or-later
"""What the relay takes for IKE, ESP and keepalives, and what it does not."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.datagram import KEEPALIVE, outer, spi_of, udp_socket
from relay.errors import RelayError
from tests.unit.relay.samples import ESP, IKE


def test_a_captured_ike_message_is_named_by_the_initiators_spi() -> None:
    assert spi_of(IKE) == bytes.fromhex("6eb319d873edaa67")


def test_a_captured_esp_packet_is_named_by_its_spi() -> None:
    assert spi_of(ESP) == bytes.fromhex("cde4f040")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        KEEPALIVE,
        IKE[:31],
        IKE[:-1],
        IKE + b"\0",
        IKE[:21] + b"\x10" + IKE[22:],  # IKEv1
        bytes(40),
        b"\x00\x00\x00\xff" + bytes(40),  # reserved SPI
        ESP[:17],
        b"GET / HTTP/1.1",
    ],
)
def test_anything_else_is_neither(octets: bytes) -> None:
    assert spi_of(octets) is None


@given(st.binary(max_size=80))
def test_any_octets_are_judged(octets: bytes) -> None:
    spi = spi_of(octets)
    assert spi is None or spi in (octets[:4], octets[4:12])


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("::ffff:203.0.113.7", 4500, 0, 0), (IPv4Address("203.0.113.7"), 4500)),
        (("2001:db8::1", 4501, 0, 0), (IPv6Address("2001:db8::1"), 4501)),
        (("fe80::1%eth0", 4500, 0, 2), (IPv6Address("fe80::1"), 4500)),
        (("203.0.113.7", 9), (IPv4Address("203.0.113.7"), 9)),
    ],
)
def test_addresses_are_shown_as_people_know_them(
    address: tuple[str | int, ...], shown: tuple[IPv4Address | IPv6Address, int]
) -> None:
    assert outer(address) == shown


def test_a_port_takes_both_families_and_only_once(ports: range) -> None:
    with udp_socket(ports[0]) as sock:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", (host, ports[0]))
                sock.setblocking(True)
                sock.settimeout(2)
                assert sock.recv(8) == b"x"
        with pytest.raises(RelayError, match="choose others"):
            udp_socket(ports[0])
