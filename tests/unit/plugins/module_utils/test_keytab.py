# SPDX-License-Identifier: GPL-3.0-or-later
"""Keytabs, against what MIT's ktutil wrote, and against noise."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import keytab
from ansible_collections.btmm.fleet.plugins.module_utils.keytab import DamagedKeytab
from hypothesis import given, settings
from hypothesis import strategies as st

# ktutil: addent -key -p host/imac@EXAMPLE -k 7 -e aes256-cts-hmac-sha1-96, HTTP/mini@EXAMPLE -k 300 -e
# aes256-cts-hmac-sha384-192. Each: size; number of components, realm, components; name type, time, version (8 bits),
# encryption type, key; version (32 bits).
FIRST = bytes.fromhex(
    "00000048 0002 0007 4558414d504c45 0004 686f7374 0004 696d6163 00000001 6b0191b1 07 0012"
    "0020 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 00000007"
)
SECOND = bytes.fromhex(
    "00000048 0002 0007 4558414d504c45 0004 48545450 0004 6d696e69 00000001 6b0191b1 2c 0014"
    "0020 1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100 0000012c"
)
WHOLE = b"\x05\x02" + FIRST + SECOND
KEY = bytes(range(32))


def test_what_ktutil_wrote() -> None:
    first, second = keytab.parse(WHOLE)
    assert (first.principal, first.realm, first.kvno, first.enctype, first.key) == ("host/imac", "EXAMPLE", 7, 18, KEY)
    assert (second.principal, second.kvno, second.enctype, second.key) == ("HTTP/mini", 300, 20, KEY[::-1])
    assert keytab.build([first, second]) == WHOLE


def test_keys_are_not_shown() -> None:
    assert "key" not in repr(keytab.parse(WHOLE)[0]).replace("keytab", "")


def test_the_short_version_counts_where_there_is_no_long_one() -> None:
    body = FIRST[4:-4]
    (entry,) = keytab.parse(b"\x05\x02" + len(body).to_bytes(4, "big") + body)
    assert entry.kvno == 7
    (entry,) = keytab.parse(b"\x05\x02" + FIRST[:-4] + bytes(4))
    assert entry.kvno == 7


def test_holes_are_passed_over_and_a_zero_ends_it() -> None:
    hole = (-16 & 0xFFFFFFFF).to_bytes(4, "big") + bytes(16)
    assert len(keytab.parse(b"\x05\x02" + FIRST + hole + SECOND)) == 2
    assert len(keytab.parse(b"\x05\x02" + FIRST + bytes(4) + SECOND)) == 1


def test_same_counts_but_does_not_order_nor_date() -> None:
    first, second = keytab.parse(WHOLE)
    (later,) = keytab.parse(b"\x05\x02" + FIRST.replace(bytes.fromhex("6b0191b1"), bytes(4)))
    assert keytab.same([first, second], [second, later])
    assert not keytab.same([first], [first, later])
    assert not keytab.same([first], [second])


@pytest.mark.parametrize("content", [b"", b"\x05", b"\x05\x01", WHOLE[:-1], WHOLE[:9], WHOLE + b"\x00"])
def test_damaged(content: bytes) -> None:
    with pytest.raises(DamagedKeytab):
        keytab.parse(content)


@settings(max_examples=300)
@given(
    st.binary(max_size=60).map(lambda tail: b"\x05\x02" + tail)
    | st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)).map(
        lambda spot: WHOLE[: spot[0]] + bytes([spot[1]]) + WHOLE[spot[0] + 1 :]
    )
)
def test_noise_is_damaged_or_read_and_written_alike(content: bytes) -> None:
    with contextlib.suppress(DamagedKeytab):
        entries = keytab.parse(content)
        assert keytab.parse(keytab.build(entries)) == entries
