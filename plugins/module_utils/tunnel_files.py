# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels as an owner describes them, turned into files: for the module tunnel_config and the filter swanctl_conf."""

from __future__ import annotations

import glob
import platform
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import ipsec, ipsec_btmm, ipsec_racoon, ipsec_swanctl, ipsec_weak, racoon_grammar, racoon_setkey
from .ipsec import HEADING, InvalidTunnel, Local, Remote, Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Options = Mapping[str, Any]

_FOREIGN = "{} is another program's: move it away first"
T = TypeVar("T", IPv6Address, IPv6Network, IPv4Address | IPv6Address)


@dataclass(frozen=True, slots=True)
class RacoonFiles:
    """racoon.conf, the policies for setkey, and what is worth a warning."""

    configuration: str
    policies: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """What each file shall hold, by its path, and what is worth a warning."""

    contents: dict[str, str]
    warnings: tuple[str, ...] = ()


def rendered(options: Options, *, look: bool) -> Files:
    """Return the files of the IPsec program that is the `backend`.

    Args:
        options: those of the module tunnel_config, with all defaults.
        look: whether files that racoon's name have to be there.

    Raises:
        InvalidTunnel, RacoonError: as the functions below.
    """
    path = options["path"]
    if options["backend"] == "strongswan":
        weak = ipsec_weak.warning(options)
        return Files({path: for_strongswan(options)}, (weak,) if weak else ())
    if options["backend"] == "back_to_my_mac":
        named = for_back_to_my_mac(options)
        warning = f"{options['identity']}: {ipsec_btmm.WEAKNESS}"
        return Files({str(Path(path, name)): text for name, text in named.items()}, (warning,))
    system = options["system"] or ("linux" if platform.system() == "Linux" else "bsd")
    exists = (lambda each: bool(glob.glob(each))) if look else None  # noqa: PTH207 - an absolute one
    found = for_racoon({**options, "system": system}, exists)
    contents = {path: found.configuration, options["policy_path"]: found.policies}
    return Files(contents, tuple(f"{path} {note}" for note in found.notes))


def for_strongswan(options: Options) -> str:
    """Return swanctl.conf: the inbound connection, and one for each peer.

    Args:
        options: those of the module tunnel_config; what has a default there may be left out.

    Raises:
        InvalidTunnel: an option is wrong, or two of them contradict each other; one sentence with host, cause, fix.
    """
    local, peers = _local(options), _peers(options)
    ipsec.check_peers(local, [peer for peer, _ in peers])
    algorithms = options.get("algorithms", ())
    wanted = ipsec.proposals(2, calling=False, algorithms=algorithms)
    own = [tuple(options.get(name) or ()) for name in ("ike_proposals", "esp_proposals")]
    if any(own):
        if not all(own):
            raise InvalidTunnel(f"{local.identity} has proposals for IKE or ESP alone: give both, or none")
        if (told := ipsec_weak.warning(options)) and not options.get("weak"):
            raise InvalidTunnel(f"{told}: take others, or ask for the weak ones")
        wanted = ipsec.Proposals(*own)
    times = {key: options[name] for key, name in (("dpd_s", "dpd_delay"), ("idle_s", "idle")) if name in options}
    name = options["name"]
    tunnels = {name: ipsec.inbound(local, wanted, **times)}
    for peer, entry in peers:
        version = entry.get("ike_version", 2)
        if peer.address is not None:
            start = entry.get("start", options.get("start", "trap"))
            tunnel = ipsec.outbound(local, peer, version=version, start=start, algorithms=algorithms)
            _check_way(options, tunnel)
        elif version == 1:
            tunnel = ipsec.answering(local, peer)
        else:
            raise InvalidTunnel(f"{peer.identity} only calls, and {name} takes all calls: leave it out of the peers")
        section = f"{name}-{peer.identity.replace('.', '_')}"
        if section in tunnels:
            raise InvalidTunnel(f"{peer.identity} and another host would both be {section}: rename one of them")
        tunnels[section] = tunnel
    judged = options.get("revocation", ipsec.REVOCATION[0])
    tunnels = {section: replace(tunnel, revocation=judged) for section, tunnel in tunnels.items()}
    return ipsec_swanctl.text(tunnels, options["certificate"], options["authority"])


def for_racoon(options: Options, exists: Callable[[str], bool] | None) -> RacoonFiles:
    """Return racoon's files, which its validator has found to be right.

    Args:
        options: those of the module tunnel_config, with all defaults, and `system`.
        exists: says whether any file fits a path or glob; without it files that are named are not looked for.

    Raises:
        InvalidTunnel: as above, or racoon can't carry the traffic.
        RacoonError: racoon would refuse a file, or take it and do something else.
    """
    local = _local(options)
    site = ipsec_racoon.Site(
        options["system"],
        local,
        tuple(_outer(local.identity, text) for text in options["outer"]),
        *(options[name] for name in ("directory", "certificate", "key", "authority")),
    )
    peers = [peer for peer, _ in _peers(options)]
    configuration, policies = ipsec_racoon.configuration(site, peers), ipsec_racoon.policies(site, peers)
    notes = tuple(f"line {note.line}: {note.text}" for note in racoon_grammar.check(configuration, exists))
    racoon_setkey.check(policies)
    return RacoonFiles(configuration, policies, notes)


def for_back_to_my_mac(options: Options) -> dict[str, str]:
    """Return the files of Back to My Mac itself by their names.

    Raises:
        InvalidTunnel: as above, or `weak` was not said.
    """
    return ipsec_btmm.files(_local(options), [peer for peer, _ in _peers(options)], weak=options["weak"])


def held(options: Options, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return by their paths the files of before that are the module's: wanted ones, and those that shall go.

    Raises:
        InvalidTunnel: a file of another program is where one of ours should be.
        OSError: one can't be read.
    """
    if options["backend"] != "back_to_my_mac":
        paths = [Path(text) for text in (*wanted, options["path"], options["policy_path"]) if text]
        found = {str(path): path.read_text(errors="replace") for path in paths if path.exists()}
        # Unlike charon's, racoon's file is not one of ours by its name.
        foreign = {path for path in found if options["backend"] == "racoon" and not found[path].startswith(HEADING)}
        for path in foreign & set(wanted):
            raise InvalidTunnel(_FOREIGN.format(path))
        return {path: text for path, text in found.items() if path not in foreign}
    folder = Path(options["path"])
    found = {str(path): path.read_text(errors="replace") for path in sorted(folder.glob("*.conf"))}
    for path in wanted:
        if path in found and not ipsec_btmm.is_ours(found[path]):
            raise InvalidTunnel(_FOREIGN.format(path))
    return {path: text for path, text in found.items() if ipsec_btmm.is_ours(text)}


def _check_way(options: Options, tunnel: Tunnel) -> None:
    """Make sure that charon, as it is set up, can send what a peer with racoon takes."""
    if tunnel.outer.encapsulated or tunnel.remote is None:
        return
    there = f"{tunnel.local.identity} can't reach {tunnel.remote.identity} at {tunnel.remote.address}: racoon takes"
    if options.get("data_path", "kernel") != "kernel":
        raise InvalidTunnel(f"{there} ESP without UDP there, which needs the kernel's; name its IPv4 address")
    if options.get("ike_port", tunnel.outer.local) != tunnel.outer.local:
        raise InvalidTunnel(f"{there} IKE at UDP {tunnel.outer.local} there, and from it; set tunnel_ike_port to that")


def _local(options: Options) -> Local:
    identity = options["identity"]
    ula = _parsed(IPv6Address, identity, "the ULA", options["ula"], "fd12:3456:789a::1")
    prefix = _parsed(IPv6Network, identity, "the /48", options["prefix"], "fd12:3456:789a::/48")
    return Local(identity, ula, prefix, options.get("port", ipsec.TUNNEL_PORT))


def _peers(options: Options) -> list[tuple[Remote, Options]]:
    found: list[tuple[Remote, Options]] = []
    for entry in options.get("peers", ()):
        identity, address = entry["identity"], entry.get("address")
        ula = _parsed(IPv6Address, identity, "the ULA", entry["ula"], "fd12:3456:789a::2")
        outer = _outer(identity, address) if address else None
        found.append((Remote(identity, ula, outer, entry.get("port", ipsec.TUNNEL_PORT)), entry))
    return found


def _outer(identity: str, text: str) -> IPv4Address | IPv6Address:
    return _parsed(ip_address, identity, "the outer address", text, "203.0.113.20")


def _parsed(read: Callable[[str], T], identity: str, what: str, text: str, example: str) -> T:
    try:
        return read(text)
    except ValueError:
        raise InvalidTunnel(f"{identity} has {what} {text!r}, which is none: write it like {example}") from None
