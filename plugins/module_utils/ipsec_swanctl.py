# SPDX-License-Identifier: GPL-3.0-or-later
"""A tunnel as strongSwan takes it: the message that vici's load-conn wants, and the same as text for swanctl.conf."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from . import ipsec
from .ipsec import HEADING, InvalidTunnel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .ipsec import Tunnel

    Value = str | Sequence[str | bytes] | Mapping[str, "Value"]

Credential = TypeVar("Credential", str, bytes)

_NAME = re.compile(r"[A-Za-z0-9_-]+")  # a dot would begin a section within the section
_PLAIN = re.compile(r"[A-Za-z0-9_.:/%+\-]+")


def connection(name: str, tunnel: Tunnel, certificate: Credential, *authorities: Credential) -> dict[str, Value]:
    """Return what charon is told of a tunnel.

    Args:
        name: of the child, which is the connection's own.
        tunnel: the description.
        certificate: the host's own; vici takes its content, swanctl.conf the name of its file.
        authorities: the certificates of the owner CA, likewise; who has one of either may be the peer.
    """
    local, remote, outer = tunnel.local, tunnel.remote, tunnel.outer
    peer: dict[str, Value] = {"auth": "pubkey", "cacerts": list(authorities)}
    if tunnel.revocation != ipsec.REVOCATION[0]:
        peer["revocation"] = tunnel.revocation
    if remote is not None:
        peer["id"] = remote.identity
    # A tunnel that nobody's packet opens again must not end.
    kept = tunnel.start == "start"
    found: dict[str, Value] = {
        "version": str(tunnel.version),
        "remote_addrs": [str(remote.address) if remote is not None and remote.address is not None else "%any"],
        # From 500 to another port the non-ESP marker would be missing, and the peer would never answer.
        "local_port": str(outer.local),
        "encap": "yes" if outer.encapsulated else "no",
        "mobike": "yes",
        "dpd_delay": f"{tunnel.dpd_s}s",
        "proposals": list(tunnel.proposals.ike),
        "local": {"auth": "pubkey", "certs": [certificate], "id": local.identity},
        "remote": peer,
        "children": {
            name: {
                "mode": "tunnel",
                "local_ts": [f"{local.ula}/128"],
                # Who calls gets no more of the /48 than its certificate's address block has (RFC 3779).
                "remote_ts": [f"{remote.ula}/128" if remote is not None else str(local.prefix)],
                "esp_proposals": list(tunnel.proposals.esp),
                # 1280 inside makes 1344 outside, and IPv6 can't be told less (RFC 8200 section 5): where a path takes
                # less, the outer IPv4 packet must be one that routers may divide.
                "copy_df": "no",
                "start_action": tunnel.start,
                "dpd_action": "restart" if kept else "clear",
                **({"close_action": "start"} if kept else {}),
                "inactivity": f"{0 if kept else tunnel.idle_s}s",
            }
        },
    }
    if remote is not None and remote.address is not None:
        found["remote_port"] = str(outer.remote)
    if kept:
        found["keyingtries"] = "0"  # until it succeeds
    if tunnel.unique is not None:
        found["unique"] = tunnel.unique
    return found


def text(tunnels: Mapping[str, Tunnel], certificate: str, authority: str) -> str:
    """Return tunnels as a file for /etc/swanctl/conf.d.

    Args:
        tunnels: by the names of their connections.
        certificate: file of the host's own, below x509.
        authority: file of the owner CA's certificate, below x509ca; several with commas.

    Raises:
        InvalidTunnel: a name can't be a section's, or a value none of swanctl.conf.
    """
    for name in tunnels:
        if not _NAME.fullmatch(name):
            raise InvalidTunnel(f"{name!r} can't be a connection's name in swanctl.conf: take letters, digits, - and _")
    sections = {name: connection(name, tunnel, certificate, *authority.split(",")) for name, tunnel in tunnels.items()}
    return f"{HEADING}\n" + "\n".join(_lines({"connections": sections}, "")) + "\n"


def _lines(content: Mapping[str, Value], indent: str) -> list[str]:
    found: list[str] = []
    for key, value in content.items():
        if isinstance(value, str):
            found.append(f"{indent}{key} = {_quoted(value)}")
        elif isinstance(value, list):
            found.append(f"{indent}{key} = {_quoted(','.join(str(item) for item in value))}")
        elif isinstance(value, dict):
            found += [f"{indent}{key} {{", *_lines(value, indent + "  "), f"{indent}}}"]
    return found


def _quoted(value: str) -> str:
    if all(_PLAIN.fullmatch(part) for part in value.split(",")):
        return value
    if not value.isprintable():
        raise InvalidTunnel(f"{value!r} can't stand in swanctl.conf: give it without line breaks and the like")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
