# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 6281 section 6.2: no packet of the /48 goes in clear, or is taken in clear, whatever becomes of charon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.conftest import Unguarded
from tests.kernel.fleet import Fleet
from tests.kernel.hosts import HOSTS, IMAC, MACBOOK, Host, other


@contextmanager
def calling(fleet: Fleet) -> Iterator[None]:
    """Have both hosts send to each other all the time."""
    for host in HOSTS:
        ping = f"ping -n -q -i 0.02 -I {host.ula} {other(host).ula}"
        fleet.shell(host.label, f"{ping} </dev/null >/dev/null 2>&1 & echo $! > /run/ping.pid")
    try:
        yield
    finally:
        for host in HOSTS:
            fleet.shell(host.label, "kill $(cat /run/ping.pid)")


def echoes_heard(fleet: Fleet, host: Host) -> int:
    """Return how many echo requests have come to the host, by its own count."""
    return int(fleet.shell(host.label, "awk '$1 == \"Icmp6InEchos\" { print $2 }' /proc/net/snmp6"))


def test_without_the_guard_packets_go_in_clear(unguarded: Unguarded) -> None:
    """Else what follows would prove nothing."""
    assert unguarded.clear > 0


def test_nothing_goes_in_clear_whatever_becomes_of_charon(fleet: Fleet) -> None:
    fleet.echo(IMAC)
    clear = fleet.seen("clear")
    with calling(fleet):
        fleet.end(IMAC, "TERM")
        fleet.refuses(IMAC)
        fleet.start(IMAC)
        fleet.echo(IMAC)
        # What a crash leaves in the kernel goes on, until the next charon makes it anew.
        fleet.end(IMAC, "KILL")
        fleet.start(IMAC)
        fleet.echo(IMAC)
        # And where nothing is left.
        fleet.end(IMAC, "KILL")
        fleet.shell("imac", "ip xfrm state flush; ip xfrm policy flush; ip -6 route flush table 220")
        fleet.refuses(IMAC)
        fleet.guard(IMAC)
        fleet.refuses(IMAC)
        fleet.start(IMAC)
        fleet.echo(IMAC)
    assert fleet.seen("clear") == clear


def test_nothing_is_taken_in_clear(fleet: Fleet) -> None:
    """The router says that it is macbook."""
    fleet.echo(IMAC)
    call = f"ping -n -q -c 3 -i 0.1 -W 1 -I {MACBOOK.ula} {IMAC.ula} || true"
    fleet.shell("home", f"ip -6 address add {MACBOOK.ula}/128 dev lo nodad")
    try:
        with_tunnel = echoes_heard(fleet, IMAC)
        fleet.shell("home", call)
        assert echoes_heard(fleet, IMAC) == with_tunnel
        fleet.end(IMAC, "TERM")
        without = echoes_heard(fleet, IMAC)
        fleet.shell("home", call)
        assert echoes_heard(fleet, IMAC) == without
        # That the router could: an address outside the /48 gets through.
        fleet.shell("home", "ping -n -q -c 1 -W 5 -I lan fe80::2")
        assert echoes_heard(fleet, IMAC) > without
    finally:
        fleet.shell("home", f"ip -6 address del {MACBOOK.ula}/128 dev lo")
    fleet.start(IMAC)
    fleet.echo(IMAC)
