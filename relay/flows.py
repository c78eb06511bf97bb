# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows: two hosts, a UDP port for each, and datagrams that go from one to the other octet for octet.

Nothing goes to an address that did not send first, so nobody can be flooded by way of the relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import random
import secrets
from collections import deque
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import TOKEN_OCTETS, parse_token

from .datagram import KEEPALIVE, Address, outer, spi_of, udp_socket
from .errors import RelayError
from .limits import Bucket, Limits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

IDLE_S = 90.0  # charon sends keepalives every 20 s as long as it holds a tunnel
_LOOK_S = 15.0
# Seconds of silence of an end before its association may come from another address. Nobody guesses an SPI; who can
# read it on the way might send it from elsewhere, but the owner of a flow that is in use is never silent that long.
SILENT_S = 2.0
_KNOWN = 16  # associations of one end: IKE, ESP, their successors, and a second tunnel made before the first is broken
_AT_ONCE = 64  # datagrams of one port before others have their turn


class End:
    """One host's side of a flow: the port that it sends to, and where it was heard."""

    def __init__(self, label: str, sock: socket.socket) -> None:
        self.label = label
        self.sock = sock
        self.port: int = sock.getsockname()[1]
        self.token = ""
        self.address: Address | None = None
        self.heard_at = 0.0
        self._known: dict[bytes, None] = {}

    def renew_token(self) -> str:
        """Return a new token; with it the end may be moved, or opened the first time."""
        self.token = secrets.token_hex(TOKEN_OCTETS)
        return self.token

    def takes(self, source: Address, spi: bytes | None, now: float) -> bool:
        """Tell whether a datagram from `source` is this end's; follow it when it moved, by the rules above."""
        if self.address is None:
            return False
        if source != self.address:
            if spi is None or spi not in self._known or now - self.heard_at < SILENT_S:
                return False
            self.address = source
        self.heard_at = now
        if spi is not None and spi not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[spi] = None
        return True


class Flow:
    """Two ends. `wanted_by`: numbers of the requests that wait for it to be open, by label."""

    def __init__(self, name: str, first: End, second: End, bucket: Bucket | None) -> None:
        self.name = name
        self.ends = {first.label: first, second.label: second}
        self.other = {first: second, second: first}
        self.bucket = bucket
        self.wanted_by: dict[str, int] = {}
        self.opened: set[str] = set()
        self.heard_at = 0.0

    @property
    def labels(self) -> frozenset[str]:
        """The two hosts."""
        return frozenset(self.ends)


class FlowTable:
    """All flows of a relay.

    Args:
        ports: the UDP ports to give out, two for a flow.
        limits: see there.
        opened: called when a token showed where an end is.
        ended: called when a flow was idle for too long.
    """

    def __init__(
        self, ports: range, limits: Limits, opened: Callable[[Flow, End], None], ended: Callable[[Flow], None]
    ) -> None:
        self._limits = limits
        self._opened = opened
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        # In no order that could be foretold; one that comes back waits longest, so late datagrams find nobody.
        self._free = deque(random.sample(ports, len(ports)))
        self._flows: dict[str, Flow] = {}
        self._pairs: dict[frozenset[str], Flow] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self.forwarded = 0

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, name: str) -> Flow | None:
        """Return a flow by its name."""
        return self._flows.get(name)

    def obtain(self, label: str, peer: str) -> Flow:
        """Return the flow of two hosts, a new one when they have none.

        Raises:
            RelayError: too many flows.
        """
        return self._pairs.get(frozenset((label, peer))) or self._make(secrets.token_hex(16), label, peer, None)

    def resume(self, name: str, label: str, peer: str, port: int) -> Flow:
        """Return the flow that `label` had before the relay was restarted, with the port it still sends to.

        Raises:
            RelayError: it is not theirs, its port is taken, or there are too many.
        """
        flow = self._flows.get(name)
        if flow is None:
            former = self._pairs.get(frozenset((label, peer)))
            if former is not None:
                raise RelayError(f"{label} and {peer} have another flow meanwhile")
            flow = self._make(name, label, peer, port)
        elif flow.labels != {label, peer}:
            raise RelayError(f"the flow is not of {label} and {peer}")
        elif flow.ends[label].port != port:
            # The other end came back first, and could not say which port this one had.
            self._replace(flow, label, port)
        return flow

    def close(self) -> None:
        """End all flows without a word."""
        for flow in list(self._flows.values()):
            self._remove(flow)
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _make(self, name: str, label: str, peer: str, port: int | None) -> Flow:
        for each in (label, peer):
            if sum(each in labels for labels in self._pairs) >= self._limits.flows_per_host:
                raise RelayError(f"{each} has {self._limits.flows_per_host} relayed tunnels, which is the limit")
        first = End(label, self._socket(port))
        try:
            second = End(peer, self._socket(None))
        except RelayError:
            self._release(first)
            raise
        rate = self._limits.bytes_per_s
        flow = Flow(name, first, second, Bucket(rate, max(rate, 1 << 16)) if rate else None)
        flow.heard_at = self._loop.time()
        self._flows[name] = self._pairs[flow.labels] = flow
        for end in (first, second):
            self._listen(flow, end)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_LOOK_S, self._sweep)
        return flow

    def _replace(self, flow: Flow, label: str, port: int) -> None:
        former = flow.ends[label]
        if former.address is not None:
            raise RelayError(f"{label} is heard at another port of the flow")
        end = End(label, self._socket(port))
        other = flow.other.pop(former)
        self._release(former)
        flow.ends[label] = end
        flow.other |= {end: other, other: end}
        self._listen(flow, end)

    def _socket(self, port: int | None) -> socket.socket:
        if port is not None:
            try:
                self._free.remove(port)
            except ValueError:
                raise RelayError(f"port {port} is not free") from None
            return udp_socket(port)
        for _ in range(len(self._free)):
            candidate = self._free.popleft()
            try:
                return udp_socket(candidate)
            except RelayError:  # another program has it, now
                self._free.append(candidate)
        raise RelayError("the relay has no free port")

    def _listen(self, flow: Flow, end: End) -> None:
        self._loop.add_reader(end.sock, self._read, flow, end)

    def _release(self, end: End) -> None:
        self._loop.remove_reader(end.sock)
        end.sock.close()
        self._free.append(end.port)

    def _remove(self, flow: Flow) -> None:
        del self._flows[flow.name]
        del self._pairs[flow.labels]
        for end in flow.other:
            self._release(end)

    def _sweep(self) -> None:
        now = self._loop.time()
        for flow in [each for each in self._flows.values() if now - each.heard_at > IDLE_S]:
            self._remove(flow)
            self._ended(flow)
        self._sweeping = self._loop.call_later(_LOOK_S, self._sweep) if self._flows else None

    def _read(self, flow: Flow, end: End) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram, source = end.sock.recvfrom(0xFFFF)
            except BlockingIOError:
                return
            except OSError:  # what ICMP had to say about a datagram sent before
                continue
            self._take(flow, end, datagram, source)

    def _take(self, flow: Flow, end: End, datagram: bytes, source: Address) -> None:
        now = self._loop.time()
        token = parse_token(datagram)
        if token is not None:
            if end.token and hmac.compare_digest(token, end.token):
                end.address = source
                end.heard_at = flow.heard_at = now
                flow.opened.add(end.label)
                self._opened(flow, end)
            return
        spi = spi_of(datagram)
        if (spi is None and datagram != KEEPALIVE) or not end.takes(source, spi, now):
            return
        flow.heard_at = now
        other = flow.other[end]
        if other.address is None or (flow.bucket is not None and not flow.bucket.take(len(datagram))):
            return
        # A full buffer loses a datagram, as any router does.
        with contextlib.suppress(OSError):
            other.sock.sendto(datagram, other.address)
            self.forwarded += 1


def seen_at(end: End) -> str:
    """Return where an end was heard, for the log."""
    if end.address is None:
        return "nowhere"
    address, port = outer(end.address)
    return f"{address} port {port}"
