# SPDX-License-Identifier: GPL-3.0-or-later
"""How many datagrams are looked at, and of whom: an address in a datagram is anybody's word.

Who has an LLQ has proved where he is, and has a measure of his own that nobody else's datagrams take from. All others
share as many as there is memory for, by their network: who makes up addresses fills those, and finds none that is free
for long. What is over the measure is not answered, so it costs neither time nor an innocent's bandwidth.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING

from .bucket import Bucket

if TYPE_CHECKING:
    from .config import Limits
    from .llq_table import Peer, Table

STRANGERS = 4_096  # buckets of all who have no LLQ


class Rates:
    """Counts what comes by UDP; `dropped` are datagrams that were not looked at."""

    def __init__(self, table: Table, limits: Limits) -> None:
        self.dropped = 0
        self._table = table
        self._salt = os.urandom(16)  # who may not know which networks share a bucket
        self._strangers = [Bucket(limits.llq_burst, limits.llq_per_s) for _ in range(STRANGERS)]
        # A signature takes a hundred times as long to look at as all else.
        self._signatures = Bucket(limits.llq_verified_per_s, limits.llq_verified_per_s)

    def admits(self, peer: Peer) -> bool:
        """Whether a datagram of this client is to be looked at."""
        return self._counted(self._table.bucket(peer) or self._strangers[self._index(peer.address)])

    def verifies(self, peer: Peer) -> bool:
        """Whether the signature of a datagram of this client is to be looked at."""
        return self._table.bucket(peer) is not None or self._counted(self._signatures)

    def _counted(self, bucket: Bucket) -> bool:
        taken = bucket.take(time.monotonic())
        self.dropped += not taken
        return taken

    def _index(self, address: str) -> int:
        """Return the bucket of an IPv4 address, or of an IPv6 network: a host has 2^64 addresses in it."""
        if ":" in address:
            network = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8]
        else:
            network = socket.inet_pton(socket.AF_INET, address)
        digest = hashlib.blake2b(network, digest_size=4, key=self._salt).digest()
        return int.from_bytes(digest, "big") % STRANGERS
