# SPDX-License-Identifier: GPL-3.0-or-later
"""Obtains the outer address and port of this host's UDP 4500: its own, or a NAT-PMP mapping (RFC 6886)."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Self, TypeVar

from ansible_collections.btmm.fleet.plugins.module_utils import natpmp
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from . import state, uplink
from .errors import PortMapError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .uplink import Uplink

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

TUNNEL_PORT = 4500  # UDP encapsulation of ESP and IKE (RFC 3948)

# RFC 6886 section 3.1 allows nine sends over two minutes. A failure is told after five (8 s), and the caller tries
# again: a slow gateway causes no flap, and a missing one is known soon.
_SENDS = 5

_REMEMBERED = 16  # networks that a laptop goes back to


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where this host is reached from outside. `expires_at` and `renew_at` are monotonic seconds, None for ever."""

    outer: Endpoint
    method: str
    expires_at: float | None = None
    renew_at: float | None = None


class PortMapper:
    """Asks the gateway of one uplink at a time; remembers the last granted port over restarts."""

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = state_dir / "portmap.json"
        self._clock = clock

    async def async_obtain(self, link: Uplink) -> Mapping:
        """Return the mapping for `link`, renewing one that exists.

        Raises:
            PortMapError: the gateway is silent, refuses, or has itself no public address.
        """
        if not link.behind_nat or link.gateway is None:
            return Mapping(Endpoint(link.address, TUNNEL_PORT), "none")
        async with _Gateway(link.gateway) as gateway:
            outer = await gateway.async_ask(natpmp.address_request(), natpmp.parse_address_reply)
            if outer.address == IPv4Address(0):
                # RFC 6886 section 3.2.1: a gateway without an address on its outer side may say so by 0.0.0.0.
                raise PortMapError(f"the gateway {link.gateway} has no outer address: check its uplink")
            if uplink.is_private(outer.address):
                raise PortMapError(
                    f"the gateway {link.gateway} is itself behind a NAT (its outer address {outer.address} is private):"
                    " put it in bridge mode, or ask the provider for a public IPv4 address"
                )
            # The granted port is suggested again, so that a renewal after the gateway's reboot keeps it (section 3.3).
            ports = self._ports()
            suggested = ports.get(str(link.gateway), TUNNEL_PORT)
            reply = await gateway.async_ask(
                natpmp.map_request(TUNNEL_PORT, suggested, natpmp.RECOMMENDED_LIFETIME_S),
                lambda data: natpmp.parse_map_reply(data, TUNNEL_PORT),
            )
        if not reply.external_port or not reply.lifetime_s:
            raise PortMapError(f"the gateway {link.gateway} granted no mapping for UDP {TUNNEL_PORT}: restart it")
        if reply.external_port != suggested:
            ports.pop(str(link.gateway), None)
            ports[str(link.gateway)] = reply.external_port
            state.write(self._path, {"ports": dict(list(ports.items())[-_REMEMBERED:])})
        now = self._clock()
        return Mapping(
            outer=Endpoint(outer.address, reply.external_port),
            method="nat-pmp",
            expires_at=now + reply.lifetime_s,
            # RFC 6886 section 3.3: renew halfway to expiry; a lifetime of seconds must not become a busy loop.
            renew_at=now + max(reply.lifetime_s / 2, 2.0),
        )

    def _ports(self) -> dict[str, int]:
        """The port that each gateway granted last, the most recent one last; what is damaged is left out."""
        ports = state.read(self._path).get("ports")
        known = ports.items() if isinstance(ports, dict) else ()
        return {gateway: port for gateway, port in known if isinstance(port, int) and 0 < port < 1 << 16}

    async def async_release(self, link: Uplink) -> None:
        """Delete the mapping at the gateway of `link` (RFC 6886 section 3.4); never raises, the lease ends anyway."""
        if not link.behind_nat or link.gateway is None:
            return
        try:
            async with _Gateway(link.gateway) as gateway:
                await gateway.async_ask(
                    natpmp.map_request(TUNNEL_PORT, 0, 0),
                    lambda data: natpmp.parse_map_reply(data, TUNNEL_PORT),
                    sends=2,
                )
        except PortMapError as err:
            _LOGGER.warning("the mapping is left to its lease: %s", err)


class _Gateway(asyncio.DatagramProtocol):
    """One exchange at a time with a NAT-PMP gateway (RFC 6886 section 3.1: one request outstanding)."""

    def __init__(self, address: IPv4Address) -> None:
        self._address = address
        self._received: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            # A connected socket takes datagrams from the gateway alone (section 3.1), and learns of ICMP errors.
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: self, remote_addr=(str(self._address), natpmp.SERVER_PORT)
            )
        except OSError as err:
            raise PortMapError(f"the gateway {self._address} can't be asked ({err}): check the network") from err
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        self._received.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self._received.put_nowait(exc)

    async def async_ask(self, request: bytes, parse: Callable[[bytes], T], sends: int = _SENDS) -> T:
        loop = asyncio.get_running_loop()
        wait = natpmp.FIRST_RETRY_S
        for _ in range(sends):
            deadline = loop.time() + wait
            wait *= 2
            self._transport.sendto(request)
            while (left := deadline - loop.time()) > 0:
                try:
                    return parse(await self._async_receive(left))
                except TimeoutError:
                    break
                except OSError as err:
                    raise PortMapError(
                        f"the gateway {self._address} does not speak NAT-PMP ({err.strerror}):"
                        " switch NAT-PMP or PCP on in its settings"
                    ) from err
                except natpmp.RefusedError as err:
                    raise PortMapError(
                        f"the gateway {self._address} refuses to map UDP {TUNNEL_PORT}: {err}:"
                        " allow port mapping in its settings"
                    ) from err
                except natpmp.NatPmpError as err:
                    # A late reply to an earlier send, or noise: the right one may still come.
                    _LOGGER.debug("ignored from %s: %s", self._address, err)
        raise PortMapError(
            f"the gateway {self._address} does not answer NAT-PMP on UDP {natpmp.SERVER_PORT}:"
            " switch NAT-PMP or PCP on in its settings"
        )

    async def _async_receive(self, within_s: float) -> bytes:
        received = await asyncio.wait_for(self._received.get(), within_s)
        if isinstance(received, Exception):
            raise received
        return received
