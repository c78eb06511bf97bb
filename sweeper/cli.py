# SPDX-License-Identifier: GPL-3.0-or-later
"""Read both zones, plan, remove one thing after the other, and say so in one line each."""

from __future__ import annotations

import argparse
import socket
import sys
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import names, sweep
from ansible_collections.btmm.fleet.plugins.module_utils.bind import parse_key
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.ownership import target_of
from ansible_collections.btmm.fleet.plugins.module_utils.update import PrerequisiteFailed, UpdateError, change

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.btmm.fleet.plugins.module_utils.records import Record
    from dns.name import Name

# The server makes these itself, and refuses who writes them (RFC 4034, RFC 5155).
_SIGNING = {dns.rdatatype.from_text(kind) for kind in ("RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY")}


def main(arguments: list[str] | None = None) -> int:
    """Sweep once and return the exit status: 0 also when nothing was to do, 1 when it could not be done."""
    parser = argparse.ArgumentParser(
        prog="btmm-sweep", description="Remove from the zone what nobody stands for.", fromfile_prefix_chars="@"
    )
    parser.add_argument("--zone", required=True, help="the owner's zone")
    parser.add_argument("--prefix", required=True, help="the fleet's /48")
    parser.add_argument("--key-file", required=True, type=Path, help="BIND key statement that may write and transfer")
    parser.add_argument("--server", default="127.0.0.1", help="address of the primary (default %(default)s)")
    parser.add_argument("--port", type=int, default=53, help="its TCP port (default %(default)s)")
    parser.add_argument("--grace", type=int, default=sweep.GRACE_S, metavar="S", help="default %(default)s")
    parser.add_argument("--floor", type=int, default=sweep.FLOOR_S, metavar="S", help="shortest lease (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--all", action="store_true", help="remove hosts also when no lease runs at all")
    given = parser.parse_args(arguments)
    try:
        zone, reverse = names.parse_zone(given.zone), names.reverse_zone(IPv6Network(given.prefix))
        key = parse_key(given.key_file.read_text(encoding="ascii"))
        with Exchange(Server(given.server, given.port), key) as exchange:
            Sweeper(exchange, zone, reverse, given.dry_run).run(given)
    except (UpdateError, OSError, ValueError) as error:
        print(f"{socket.gethostname()}: {error}", file=sys.stderr)
        return 1
    return 0


class Sweeper:
    """One pass over the owner's zone and its ip6.arpa zone."""

    def __init__(self, exchange: Exchange, zone: Name, reverse: Name, dry_run: bool) -> None:
        self._exchange = exchange
        self._zone = zone
        self._reverse = reverse
        self._dry_run = dry_run

    def run(self, given: argparse.Namespace) -> None:
        """Remove expired hosts, then what leads nowhere.

        Raises:
            UpdateError: the server cannot be read, or refuses a removal; what was removed before is.
        """
        zone, reverse = self._zone, self._reverse
        pointers = self._read(reverse)
        content = self._read(zone)
        judged = sweep.judge(zone, content, datetime.now(UTC), given.grace, given.floor)
        for sentence in judged.doubtful:
            print(sentence)
        if judged.expired and not judged.running and not given.all:
            # The signatures of a fleet that is well fail too when this clock is wrong, so nobody could refresh.
            print(
                f"nothing is removed: {len(judged.expired)} leases ran out and none runs, so the clock or the network "
                "of this host is more likely at fault; mend it, or run btmm-sweep with --all"
            )
        else:
            for removal in sweep.host_removals(zone, content, judged):
                if self._remove(removal):
                    content = _without(content, removal.records)
        for removal in sweep.stray_removals(zone, content):
            self._remove(removal)
        for removal in sweep.reverse_removals(zone, reverse, pointers, content):
            if self._remove(removal) and not self._dry_run:
                self._put_back(removal.records[0])

    def _read(self, zone: Name) -> list[Record]:
        return [record for record in self._exchange.transfer(zone) if record.rdata.rdtype not in _SIGNING]

    def _remove(self, removal: sweep.Removal) -> bool:
        """Send one removal; tell whether it happened, or would."""
        if self._dry_run:
            print(f"would remove {removal.what}: {removal.why}")
            return True
        try:
            self._exchange.send(removal.message)
        except PrerequisiteFailed:
            print(f"left {removal.what}: it changed meanwhile")
            return False
        print(f"removed {removal.what}: {removal.why}")
        return True

    def _put_back(self, pointer: Record) -> None:
        """Undo a removal when the host came back in between: no prerequisite reaches from one zone into another.

        A host publishes its name before its pointer. So either the name is seen here, or the pointer is yet to come.
        """
        host = target_of(pointer)
        addresses = [] if host is None else self._exchange.lookup(host, dns.rdatatype.AAAA)
        if any(names.reverse_name(IPv6Address(address.rdata.to_text())) == pointer.name for address in addresses):
            self._exchange.send(change(self._reverse, [pointer]))
            print(f"put back {pointer.name}: {host} came back")


def _without(content: Iterable[Record], gone: Iterable[Record]) -> list[Record]:
    ids = {id(record) for record in gone}
    return [record for record in content if id(record) not in ids]
