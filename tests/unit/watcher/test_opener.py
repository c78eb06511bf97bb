# SPDX-License-Identifier: GPL-3.0-or-later
"""Datagrams from a port that another socket has; the kernel itself judges their checksums."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from watcher import opener

raw = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets are root's")


def test_checksum_by_hand() -> None:
    # 0a00+0001+0a00+0002 (addresses) +0011 (UDP) +0009 (length) +1194+1195+0009 (header) +ff00 = 1364f; ~3650 = c9af
    datagram = struct.pack("!HHHH", 4500, 4501, 9, 0) + b"\xff"
    assert opener.checksum(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), datagram) == 0xC9AF


def test_a_checksum_of_zero_is_sent_as_all_ones() -> None:
    # 0011 (UDP) + 0008 + 0008 (lengths) = 0021; with ports that sum to ffde the sum is ffff.
    datagram = struct.pack("!HHHH", 0xFFDE, 0, 8, 0)
    assert opener.checksum(IPv4Address(0), IPv4Address(0), datagram) == 0xFFFF


@raw
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("payload", [b"\xff", b"even", b"\0" * 20])
def test_it_comes_from_a_port_that_is_taken(host: str, payload: bytes) -> None:
    address = ip_address(host)
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as charon, socket.socket(family, socket.SOCK_DGRAM) as relay:
        charon.bind((host, 0))
        relay.bind((host, 0))
        relay.settimeout(2)
        opener.send(payload, charon.getsockname()[1], address, relay.getsockname()[1])
        octets, source = relay.recvfrom(64)
        assert (octets, source[:2]) == (payload, charon.getsockname()[:2])
        # What comes back is charon's.
        relay.sendto(b"back", source)
        charon.settimeout(2)
        assert charon.recv(64) == b"back"


@raw
def test_a_wrong_checksum_would_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above could not fail otherwise."""
    monkeypatch.setattr(opener, "checksum", lambda *_: 0x1234)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("127.0.0.1", 0))
        relay.settimeout(0.3)
        opener.send(b"x", 4500, IPv4Address("127.0.0.1"), relay.getsockname()[1])
        with pytest.raises(TimeoutError):
            relay.recv(64)


@raw
def test_no_way_there_is_an_error() -> None:
    with pytest.raises(OSError):  # noqa: PT011 - whatever the kernel says
        opener.send(b"x", 4500, IPv6Address("ff02::1"), 9)
