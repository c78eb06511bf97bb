# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role renders for a peer that has racoon on Linux: IKEv1 over IPv6, and ESP that is in no UDP.

Charon is at both ends, since no racoon can be had; what one is told is judged by its validator elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import files
from tests.kernel.fleet import Fleet
from tests.kernel.hosts import HOSTS, IMAC


@pytest.fixture
def peers(fleet: Fleet, data_path: str, tmp_path: Path) -> Iterator[Fleet]:
    """Have each host take the other for one with racoon."""
    files.render_for_racoon(tmp_path, data_path)
    for host in HOSTS:
        fleet.end(host, "TERM")
    fleet.lay(tmp_path, "/srv/racoon")
    for host in HOSTS:
        fleet.start(host)
    yield fleet
    for host in HOSTS:
        fleet.end(host, "TERM")
        fleet.shell(host.label, "umount --lazy /etc")
        fleet.start(host)
    fleet.echo(IMAC)


def test_the_first_packet_opens_a_tunnel_as_racoon_knows_it(peers: Fleet) -> None:
    clear, encapsulated = peers.seen("clear"), peers.seen("encapsulated")
    peers.echo(IMAC)
    for host in HOSTS:
        sas = peers.shell(host.label, "swanctl --list-sas")
        assert "ESTABLISHED, IKEv1" in sas, sas
        assert f"@ {host.outer6}[500]" in sas, sas
        assert "TUNNEL, ESP:AES_CBC-256/HMAC_SHA2_512_256/MODP_2048" in sas, sas
        assert "encap" not in peers.shell(host.label, "ip xfrm state list proto esp")
    assert peers.seen("encapsulated") == encapsulated
    assert peers.seen("clear") == clear
