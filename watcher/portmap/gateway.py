# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a gateway's UDP 5351, where PCP and NAT-PMP live side by side (RFC 6887 section 9, appendix A)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self, TypeVar

from ansible_collections.btmm.fleet.plugins.module_utils import natpmp, pcp

from ..errors import SilentGatewayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

# Four sends, 250 ms and doubling (RFC 6886 section 3.1), are silent after 3.75 s. PCP's own first wait of 3 s (RFC 6887
# section 8.1.1) is for servers far away; a default gateway that is there answers within milliseconds.
SENDS = 4


class Gateway(asyncio.DatagramProtocol):
    """One exchange at a time with a gateway (RFC 6886 section 3.1: one request outstanding)."""

    def __init__(self, address: IPv4Address, own: IPv4Address) -> None:
        self.address = address
        self._own = own
        self._received: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            # Connected, it takes datagrams from the gateway alone (RFC 6886 section 3.1), and learns of ICMP errors;
            # bound to the address that PCP names in its request, or the gateway sees a mismatch.
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: self, local_addr=(str(self._own), 0), remote_addr=(str(self.address), pcp.SERVER_PORT)
            )
        except OSError as err:
            raise SilentGatewayError(f"the gateway {self.address} can't be asked ({err}): check the network") from err
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        """Take one datagram."""
        self._received.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """Take an ICMP error."""
        self._received.put_nowait(exc)

    async def async_ask(
        self, request: bytes, parse: Callable[[bytes], T], sends: int = SENDS, beside: bytes = b""
    ) -> T:
        """Send `request` until `parse` takes an answer.

        Args:
            request: one datagram.
            parse: reads an answer; raises what `natpmp` and `pcp` raise.
            sends: how often it is sent.
            beside: a second question that goes with every repetition; `parse` has to take its answers, too.

        Raises:
            natpmp.RefusedError, pcp.RefusedError: the gateway refused.
            SilentGatewayError: no answer, or an ICMP error.
        """
        loop = asyncio.get_running_loop()
        wait = natpmp.FIRST_RETRY_S
        for number in range(sends):
            deadline = loop.time() + wait
            wait *= 2
            self._transport.sendto(request)
            if number and beside:
                self._transport.sendto(beside)
            while (left := deadline - loop.time()) > 0:
                try:
                    return parse(await self._async_receive(left))
                except TimeoutError:
                    break
                except OSError as err:
                    raise SilentGatewayError(f"the gateway {self.address} can't be asked ({err.strerror})") from err
                except (natpmp.RefusedError, pcp.RefusedError):
                    raise
                except (natpmp.NatPmpError, pcp.PcpError) as err:
                    # A late answer to an earlier question, or noise: the right one may still come.
                    _LOGGER.debug("ignored from %s: %s", self.address, err)
        raise SilentGatewayError(f"the gateway {self.address} does not answer on UDP {pcp.SERVER_PORT}")

    async def _async_receive(self, within_s: float) -> bytes:
        received = await asyncio.wait_for(self._received.get(), within_s)
        if isinstance(received, Exception):
            raise received
        return received
