# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that no daemon of ours makes: charon is told by hand whom to call, as whom, and what to ask for."""

from __future__ import annotations

from tests.e2e import proof
from tests.e2e.fleet import ROOT, CommandFailed, Fleet

PEER = "mini"  # has a public address, so everybody can call it


def call(
    fleet: Fleet, caller: str, *, own: str, identity: str | None = None, certificate: str | None = None
) -> str | None:
    """Call the peer; return why it refused, or None when there is a tunnel.

    Args:
        fleet: the fleet.
        caller: the host that calls.
        own: the network that it says is its own.
        identity: the label of who it says it is; default, who it is.
        certificate: the file that it shows instead of its own.
    """
    fleet.send(caller, ROOT / "molecule" / "tunnel" / "call-peer.py", "/run/call-peer.py")
    names = [f"{identity or caller}.{proof.ZONE}", f"{PEER}.{proof.ZONE}"]
    ends = [proof.WAN[PEER], own, proof.ula(fleet, PEER)]
    try:
        fleet.on(caller, "python3", "/run/call-peer.py", *names, *ends, *([certificate] if certificate else []))
    except CommandFailed as error:
        return str(error)
    return None


def let_in(fleet: Fleet) -> list[str]:
    """Return what the peer has tunnels to, as its charon lists it."""
    listed = fleet.on(PEER, "swanctl", "--list-sas")
    return [line.split(None, 1)[1] for line in listed.splitlines() if line.startswith("    remote ")]
