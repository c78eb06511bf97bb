# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm connect HOST`: open its tunnel now, by asking for its address as any program would."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from .shared import as_json, host, not_running, read_status

if TYPE_CHECKING:
    import argparse

    from dns.message import Message

_LISTED_WITHIN_S = 1.0  # the daemon hears of a new tunnel by an event of charon's


class _Failure(Exception):
    """Why there is no tunnel; one sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("host", metavar="HOST", help="its label, or its whole name")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Open the tunnel and say by which way, or in one sentence why not (1)."""
    wanted = given.host.lower().removesuffix(".")
    own = [zone for zone in zones if wanted.endswith(f".{zone}")] or zones
    failure = None
    for zone in own:
        label = wanted.removesuffix(f".{zone}")
        try:
            opened = _connect(zone, label)
        except _Failure as err:
            failure = failure or err
        else:
            print(as_json(opened) if given.json else _line(opened))
            return 0
    print(f"{host()}: {failure}", file=sys.stderr)
    return 1


def _line(opened: dict[str, Any]) -> str:
    way = " ".join(str(opened[key]) for key in ("rung", "outer") if opened[key])
    return f"{opened['name']}  {opened['address']}  {way or 'this host itself'}  {opened['ms']} ms"


def _connect(zone: str, label: str) -> dict[str, Any]:
    from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError  # noqa: PLC0415

    name = f"{label}.{zone}"
    if read_status(zone) is None:
        raise _Failure(not_running(zone))
    started = time.monotonic()
    try:
        answer = _ask(zone, label)
    except UpdateError as err:
        raise _Failure(f"the daemon does not answer: {err}") from err
    took_ms = round((time.monotonic() - started) * 1000)
    address = _address(answer, name, zone)
    tunnel = _tunnel(zone, address)
    return {
        "name": name,
        "address": address,
        "outer": tunnel.get("outer"),
        "rung": tunnel.get("rung"),
        "ms": took_ms,
    }


def _ask(zone: str, label: str) -> Message:
    import dns.exception  # noqa: PLC0415
    import dns.message  # noqa: PLC0415
    from ansible_collections.btmm.fleet.plugins.module_utils import names  # noqa: PLC0415

    from .local import ask  # noqa: PLC0415

    try:
        name = names.host_name(label, names.parse_zone(zone))
        query = dns.message.make_query(name, "AAAA", use_edns=0)
        with ask(zone) as exchange:
            return dns.message.from_wire(exchange.ask_raw(query))
    except names.InvalidName as err:
        raise _Failure(f"'{label}' is no name of a host in {zone}: see 'btmm browse'") from err
    except dns.exception.DNSException as err:
        raise _Failure(f"the daemon's answer is not readable ({err}): restart it") from err


def _address(answer: Message, name: str, zone: str) -> str:
    import dns.edns  # noqa: PLC0415
    import dns.rcode  # noqa: PLC0415
    import dns.rdatatype  # noqa: PLC0415

    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.AAAA:
            return str(rrset[0])
    if answer.rcode() in {dns.rcode.NXDOMAIN, dns.rcode.NOERROR}:
        raise _Failure(
            f"{name} has no address: it is off, or no host of {zone}; 'btmm browse' lists who offers something"
        )
    reasons = [option.text for option in answer.options if isinstance(option, dns.edns.EDEOption) and option.text]
    raise _Failure(reasons[0] if reasons else f"no answer for {name} ({dns.rcode.to_text(answer.rcode())})")


def _tunnel(zone: str, address: str) -> dict[str, Any]:
    """Return what the daemon says of the tunnel to an address; nothing for this host's own."""
    deadline = time.monotonic() + _LISTED_WITHIN_S
    while True:
        status = read_status(zone) or {}
        for peer in status.get("peers") or ():
            if peer.get("address") == address:
                return dict(peer)
        if status.get("ula") == address or time.monotonic() > deadline:
            return {}
        time.sleep(0.02)
