# SPDX-License-Identifier: GPL-3.0-or-later
"""What setkey takes; tried on ipsec-tools' setkey, unless a row says "strict"."""

from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.racoon_lexer import RacoonError
from ansible_collections.btmm.fleet.plugins.module_utils.racoon_setkey import check
from hypothesis import given
from hypothesis import strategies as st

ENDS = "fd00::1/128 fd00::2/128"
TUNNEL = "ipsec esp/tunnel/192.0.2.1-192.0.2.2/require"

ACCEPTED = [
    "",
    "spdflush;",
    f"spdadd {ENDS} any -P out {TUNNEL};",
    f"spdadd -6 {ENDS} any -P in {TUNNEL};",
    f"spdadd {ENDS} any -P fwd {TUNNEL};",
    f"spdadd {ENDS} any\n  -P out # towards macbook\n  {TUNNEL};",
    f"spdadd {ENDS} any -P out ipsec esp/tunnel/192.0.2.1[4500]-192.0.2.2[41500]/require;",
    f"spdadd {ENDS} any -P out ipsec esp/tunnel/2001:db8::1[0]-2001:db8::2[0]/use;",
    f"spdadd {ENDS} any -P out ipsec esp/tunnel/2001:db8::1-2001:db8::2/unique:7;",
    f"spdadd {ENDS} any -P out prio def +100 {TUNNEL};",
    f"spdadd {ENDS} icmp6 135,0 -P out none;",
    f"spdadd {ENDS} any -P in discard;",
    f"spdadd {ENDS} tcp -P out ipsec esp/transport//require;",
    "spdadd 192.0.2.0/24[any] 198.51.100.1[80] tcp -P in discard;",
    "spdadd fd00::1/128 ::/0 any -P out discard;",
    f"spddelete {ENDS} any -P out;",
    f"spdadd {ENDS} any -P out {TUNNEL}; spddelete {ENDS} any -P out; spdadd {ENDS} any -P out {TUNNEL};",
]

REFUSED = [
    (f"spdadd {ENDS} any -P out {TUNNEL}", "';'"),
    ("spdadd fd00::1/128 192.0.2.1 any -P out discard;", "one family"),
    (f"spdadd -4 {ENDS} any -P out discard;", "one family"),
    (f"spdadd {ENDS} any -P in generate;", "Apple"),
    (f"spdadd {ENDS} any -P sideways discard;", "direction"),
    (f"spdadd {ENDS} any discard;", "direction"),
    (f"spdadd {ENDS} any -P in;", "action"),
    (f"spdadd {ENDS} any -P in ipsec;", "action"),
    (f"spdadd {ENDS} any -P in ipsec esp/tunnel//require;", "outer addresses"),
    (f"spdadd {ENDS} any -P in ipsec esp/tunnel/192.0.2.1-192.0.2.2/sometimes;", "template"),
    (f"spdadd {ENDS} any -P in ipsec esp/tunnel/192.0.2.1-2001:db8::1/require;", "two families"),
    (f"spdadd {ENDS} any -P in ipsec esp/tunnel/192.0.2.1[70000]-192.0.2.2/require;", "65535"),
    (f"spdadd {ENDS} sctpx -P in discard;", "protocol"),
    (f"spdadd {ENDS} icmp -P in discard;", "ICMP"),
    (f"spdadd {ENDS} any -P in prio often discard;", "priority"),
    (f"spddelete {ENDS} any -P in discard;", "after its direction"),
    ("spdadd fd00::1 any -P in discard;", "address"),
    ("spdadd imac macbook any -P in discard;", "address"),
    ("add 192.0.2.1 192.0.2.2 esp 0x10 -E 3des-cbc;", "no policy"),
    # Taken by setkey, and misunderstood.
    ("spdadd fd00::1/129 fd00::2/128 any -P in discard;", "prefix"),
    # Strict: setkey only says "File exists" and goes on.
    (f"spdadd {ENDS} any -P in discard;\nspdadd {ENDS} any -P in {TUNNEL};", "line 2: the same policy"),
    (";", "nothing"),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    check(text)


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(RacoonError) as caught:
        check(text)
    assert said in str(caught.value)


WORDS = sorted({word for text in ACCEPTED for word in text.replace(";", " ; ").split()})


@given(st.one_of(st.text(), st.lists(st.sampled_from([*WORDS, "-6", "[", "/"]), max_size=20).map(" ".join)))
def test_nothing_but_racoon_error(text: str) -> None:
    try:
        check(text)
    except RacoonError as error:
        assert error.line >= 1  # noqa: PT017 - an error is no duty
