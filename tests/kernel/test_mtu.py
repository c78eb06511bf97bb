# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnel has an MTU of 1280 whatever the path, and routers that never say "too big" cost nothing."""

from __future__ import annotations

import pytest

from tests.kernel.fleet import Fleet
from tests.kernel.hosts import HOSTS, IMAC, Host, other

MIB = 10
BLOB = "/srv/blob"  # the hosts have this folder in common
TRANSFER_S = 180  # the whole machine is emulated, and may be busy besides


def transfer(fleet: Fleet, source: Host) -> None:
    """Send 10 MiB to the other host, and see that they arrive."""
    fleet.shell("", f"test -e {BLOB} || head -c {MIB}M /dev/urandom > {BLOB}")
    serve = f"nc -6 -N -l {source.ula} 7000 <{BLOB} >/dev/null 2>&1 &"
    fleet.shell(source.label, serve)
    fleet.until(source.label, "ss -6Hltn sport = 7000 | grep -q .")
    fleet.shell(other(source).label, f"nc -d {source.ula} 7000 | cmp - {BLOB}", timeout=TRANSFER_S)


def path(fleet: Fleet, mtu: int) -> None:
    """Have the way between the routers take packets of so many octets."""
    for host in HOSTS:
        fleet.shell(host.router, f"ip link set wan mtu {mtu}")


def test_1280_octets_fit_and_no_more(fleet: Fleet) -> None:
    fleet.echo(IMAC)
    for size, fits in ((1232, True), (1233, False)):  # and 48 octets of headers
        told = fleet.shell("imac", f"ping -c 1 -W 10 -M do -s {size} -I {IMAC.ula} {other(IMAC).ula} 2>&1 || true")
        assert ("1 received" in told) is fits, told
        assert ("message too long, mtu: 1280" in told) is not fits, told


def test_a_path_of_1400_octets_needs_no_fragments(fleet: Fleet) -> None:
    fleet.echo(IMAC)
    path(fleet, 1400)
    try:
        fragments = fleet.seen("fragments")
        transfer(fleet, IMAC)
        assert fleet.seen("fragments") == fragments
    finally:
        path(fleet, 1500)


@pytest.mark.parametrize("source", HOSTS, ids=lambda host: host.label)
def test_a_path_of_less_than_1344_octets_works_by_fragments(fleet: Fleet, source: Host) -> None:
    """Less than the tunnel's smallest: with DF set nothing large would arrive, ICMP or not."""
    fleet.echo(IMAC)
    path(fleet, 1300)
    try:
        fragments = fleet.seen("fragments")
        transfer(fleet, source)
        assert fleet.seen("fragments") > fragments
    finally:
        path(fleet, 1500)
