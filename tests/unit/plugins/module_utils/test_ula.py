# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone's /48 and the hosts' addresses in it (RFC 4193)."""

from __future__ import annotations

import hashlib
import time
import uuid
from ipaddress import IPv6Address, IPv6Network

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import ula
from hypothesis import given
from hypothesis import strategies as st

PREFIX = IPv6Network("fd46:9f2e:12f9::/48")


def test_prefixes_drawn_are_valid_and_differ() -> None:
    drawn = {ula.draw_prefix() for _ in range(50)}
    assert len(drawn) == 50
    assert all(ula.parse_prefix(str(prefix)) == prefix for prefix in drawn)


def test_global_id_is_the_low_40_bits_of_sha1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_500_000_000)  # 1.5 s after the Unix epoch
    monkeypatch.setattr(uuid, "getnode", lambda: 0x34159E123456)
    # NTP: 2208988801 s and half of 2**32; EUI-64: universal bit inverted, FF-FE inside (RFC 4291 appendix A).
    key = bytes.fromhex("83aa7e81 80000000 36159efffe123456")
    expected = b"\xfd" + hashlib.sha1(key).digest()[15:] + bytes(10)  # noqa: S324 - the RFC's hash
    assert ula.draw_prefix() == IPv6Network((expected, 48))


def test_address_is_prefix_subnet_zero_and_hash_of_the_key() -> None:
    address = ula.host_address(PREFIX, b"key")
    assert address.packed[:8] == PREFIX.network_address.packed[:8]
    assert address.packed[8:] == hashlib.sha256(b"key").digest()[:8]


def test_stand_in_is_stable_and_per_zone() -> None:
    assert ula.stand_in_prefix("a.example") == ula.stand_in_prefix("a.example") != ula.stand_in_prefix("b.example")


@pytest.mark.parametrize(
    "text", ["", "fd00::/8", "fd46:9f2e:12f9::1/48", "fc46:9f2e:12f9::/48", "2001:db8::/48", "10.0.0.0/8"]
)
def test_other_prefixes_are_refused(text: str) -> None:
    with pytest.raises(ula.InvalidPrefix, match=r"is not a"):
        ula.parse_prefix(text)


@given(st.text())
def test_any_text_is_a_prefix_or_refused(text: str) -> None:
    try:
        prefix = ula.parse_prefix(text)
    except ula.InvalidPrefix:
        return
    assert IPv6Address("fd00::") <= prefix.network_address
