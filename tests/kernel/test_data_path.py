# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's ESP, by the role's own files: the first packet opens the tunnel."""

from __future__ import annotations

from tests.kernel.fleet import Fleet
from tests.kernel.hosts import IMAC, MACBOOK


def test_the_role_preflight_finds_the_kernels_esp(data_path: str) -> None:
    assert data_path == "kernel"


def test_the_first_packet_opens_the_tunnel(fleet: Fleet) -> None:
    clear, encapsulated = fleet.seen("clear"), fleet.seen("encapsulated")
    assert "to-peer/to-peer, TUNNEL" in fleet.shell("imac", "swanctl --list-pols --trap")
    assert fleet.shell("imac", "ip xfrm state list proto esp; ip xfrm state count").endswith("0\n")
    fleet.echo(IMAC)
    assert "creating acquire job for policy" in fleet.shell("imac", "cat /run/charon.log")
    for host, peer in ((IMAC, MACBOOK), (MACBOOK, IMAC)):
        states = fleet.shell(host.label, "ip xfrm state")
        assert "encap type espinudp" in states, states
        sas = fleet.shell(host.label, "swanctl --list-sas")
        assert "TUNNEL-in-UDP, ESP:AES_GCM_16-128" in sas, sas
        assert f"{peer.ula}/128" in sas, sas
        # No TUN: it is not libipsec that carries the traffic.
        assert not fleet.shell(host.label, "ip -brief link show type tun")
    assert fleet.seen("encapsulated") > encapsulated
    assert fleet.seen("clear") == clear
