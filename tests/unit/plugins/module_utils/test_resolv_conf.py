# SPDX-License-Identifier: GPL-3.0-or-later
"""resolv.conf(5), as it is found on real hosts."""

from __future__ import annotations

from ansible_collections.btmm.fleet.plugins.module_utils.resolv_conf import Nameservers, parse
from hypothesis import given
from hypothesis import strategies as st


def test_servers_and_search() -> None:
    text = (
        "# by hand\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\n"
        "domain old\nsearch a.example b.example\noptions edns0\n"
    )
    found = parse(text)
    assert found == Nameservers(("192.0.2.1", "2001:db8::1", "fe80::1%eth0"), ("a.example", "b.example"))
    assert "DNS=192.0.2.1 2001:db8::1 fe80::1%eth0\nDomains=a.example b.example\n" in found.drop_in()


def test_stubs_of_this_host_and_malformed_lines_do_not_count() -> None:
    assert parse(
        "nameserver 127.0.0.53\nnameserver ::1\nnameserver\nnameserver nowhere\nsearch .\n;x\n"
    ) == Nameservers((), ())


def test_without_search_there_is_no_domains_line() -> None:
    assert "Domains" not in parse("nameserver 192.0.2.1").drop_in()


@given(st.text(max_size=200))
def test_anything_can_be_parsed(text: str) -> None:
    parse(text)
