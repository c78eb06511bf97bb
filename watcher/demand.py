# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets to peers without a tunnel: a program kept an address, or a tunnel went while idle.

The zone's TUN has a route for the whole /48 in charon's routing table (220), where the /128 of each tunnel wins: what
comes here has no tunnel yet. In the main table it would not do: sockets would keep the TUN as their cached way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from .errors import NobodyError, TunnelError, WatcherError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config
    from .peers import Locator
    from .tunnels import Tunnels

_LOGGER = logging.getLogger(__name__)

HELD = 16  # packets for one peer that wait; the rest is sent again by who sent it
WAITING = 64  # peers that are called at a time
QUIET_S = 2.0  # after a failure, packets are refused at once
FAILED = 256  # addresses that this is known of: any program of this host may try all that there are
STRAY_S = 0.2  # after a success, packets may still come here

_HEADER = 40  # octets of an IPv6 header
_MINIMUM_MTU = 1280  # RFC 4443 section 2.4 (c): an error is no longer
_ICMP6, _UNREACHABLE, _ADDRESS = 58, 1, 3
_HDRINCL = 36  # linux/in6.h, IPV6_HDRINCL


class Demand:
    """Calls the peer that a packet is for, and sends the packet on its way, or says that it can't be reached."""

    def __init__(self, config: Config, locator: Locator, tunnels: Tunnels) -> None:
        self._config = config
        self._locator = locator
        self._tunnels = tunnels
        self._held: dict[IPv6Address, list[bytes]] = {}
        self._failed: dict[IPv6Address, float] = {}
        self._opened: dict[IPv6Address, tuple[float, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Forget the packets that wait."""
        for task in self._tasks:
            task.cancel()

    def packet(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        """Take a packet from the TUN; `reply` writes one there."""
        target = self._target(data)
        if target is None:
            return
        now = asyncio.get_running_loop().time()
        if target in self._held:
            if len(self._held[target]) < HELD:
                self._held[target].append(data)
        elif now - self._failed.get(target, -QUIET_S) < QUIET_S:
            reply(unreachable(self._config.host.ula, data))
        elif now - self._opened.get(target, (-STRAY_S, 0))[0] < STRAY_S:
            # It was on its way here when the tunnel came up. Only so many: were the tunnel no way out, it came back.
            since, sent = self._opened[target]
            if sent < HELD:
                self._opened[target] = since, sent + 1
                _send(data, target)
        elif len(self._held) < WAITING:
            self._held[target] = [data]
            task = asyncio.create_task(self._async_open(target, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _target(self, data: bytes) -> IPv6Address | None:
        """Return which peer a packet is for; None for what we have no business with, such as the kernel's multicast."""
        if len(data) < _HEADER or data[0] >> 4 != 6 or data[8:24] != self._config.host.ula.packed:
            return None
        target = IPv6Address(data[24:40])
        return target if target in self._config.prefix and target != self._config.host.ula else None

    async def _async_open(self, target: IPv6Address, reply: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._async_ensure(target)
        except (WatcherError, UpdateError) as err:
            # Once for each peer, and not for addresses that nobody has: there are 2^80 of those.
            told = isinstance(err, NobodyError) or target in self._failed
            _LOGGER.log(logging.DEBUG if told else logging.INFO, "a packet to %s is refused: %s", target, err)
            self._note_failure(target, loop.time())
            for data in self._held.pop(target):
                reply(unreachable(self._config.host.ula, data))
        else:
            self._failed.pop(target, None)
            self._opened[target] = loop.time(), 0
            for data in self._held.pop(target):
                _send(data, target)
        finally:
            self._held.pop(target, None)

    def _note_failure(self, target: IPv6Address, at: float) -> None:
        self._failed.pop(target, None)
        self._failed[target] = at
        if len(self._failed) > FAILED:
            del self._failed[next(iter(self._failed))]  # the oldest

    async def _async_ensure(self, target: IPv6Address) -> None:
        label = self._locator.owner(target) or await self._locator.async_whose(target)
        if label is None:
            raise NobodyError(f"no host of {self._config.zone} has the address {target}")
        peer = self._locator.peer(label, target)
        if peer.ways:
            with contextlib.suppress(TunnelError):
                await self._tunnels.async_ensure(peer)
                return
        # It may be elsewhere by now.
        await self._locator.async_locate(label)
        await self._tunnels.async_ensure(self._locator.peer(label, target))


def unreachable(own: IPv6Address, data: bytes) -> bytes:
    """Return the ICMPv6 error "address unreachable" (RFC 4443 section 3.1) for a packet of ours."""
    quoted = data[: _MINIMUM_MTU - _HEADER - 8]
    body = struct.pack("!BBHI", _UNREACHABLE, _ADDRESS, 0, 0) + quoted
    pseudo = own.packed + own.packed + struct.pack("!IxxxB", len(body), _ICMP6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), _ICMP6, 64) + own.packed + own.packed + body


def _checksum(octets: bytes) -> int:
    """RFC 1071."""
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def _send(data: bytes, target: IPv6Address) -> None:
    """Send a packet as it is, by the route that there is now."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, _HDRINCL, 1)
            sock.setblocking(False)
            sock.sendto(data, (str(target), 0))
    except OSError as err:
        _LOGGER.debug("a packet to %s is lost: %s", target, err)
