# SPDX-License-Identifier: GPL-3.0-or-later
"""UPnP IGD by way of a child process that lives for one exchange (`igd`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Self

from ..child import async_spawn
from ..errors import PortMapError, SilentGatewayError
from .mapping import LIFETIME_S, TUNNEL_PORT

_ANSWER_S = 10.0  # the search takes 2.4 s and Python's start a part of one; a busy machine takes longer
_LINE_OCTETS = 4096


class Igd:
    """One search for the gateway's UPnP side, then questions to it."""

    def __init__(self, own: IPv4Address, gateway: IPv4Address) -> None:
        self._own = own
        self._gateway = gateway
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None

    def start(self) -> None:
        """Begin to search, unless that was done."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._async_spawn())

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.async_close()

    async def async_close(self) -> None:
        """End the child, whatever it does."""
        if self._starting is None:
            return
        starting, self._starting = self._starting, None
        with contextlib.suppress(OSError):
            process = await starting
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def async_outer(self) -> IPv4Address:
        """Return the gateway's outer address.

        Raises:
            SilentGatewayError: there is no UPnP gateway, or nothing to speak to it with.
        """
        answer = await self._async_read()
        if answer.get("missing"):
            raise SilentGatewayError("UPnP is not tried without the Debian package python3-miniupnpc")
        if "error" in answer:
            raise SilentGatewayError(f"no UPnP gateway is found ({answer['error']})")
        if not answer.get("outer"):
            # miniupnpd keeps an address to itself that is not public, and so does not say which of the two it is.
            raise PortMapError(
                f"the gateway {self._gateway} tells no public address by UPnP: check its uplink,"
                " and whether it is itself behind a NAT"
            )
        try:
            return IPv4Address(answer["outer"])
        except AddressValueError as err:
            raise PortMapError(
                f"the gateway {self._gateway} says by UPnP that its address is {err}: restart it"
            ) from err

    async def async_map(self, suggested: int) -> tuple[int, float | None]:
        """Map UDP 4500; return the outer port, and seconds (None: for ever).

        Raises:
            PortMapError: the gateway refuses.
        """
        answer = await self._async_ask({"map": suggested, "lifetime": LIFETIME_S})
        return int(answer["port"]), answer["lifetime"]

    async def async_unmap(self, port: int) -> None:
        """Delete the mapping of an outer port.

        Raises:
            PortMapError: it is still there.
        """
        await self.async_outer()
        await self._async_ask({"unmap": port})

    async def _async_ask(self, request: dict[str, int]) -> dict[str, Any]:
        process = await self._async_process()
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write(json.dumps(request).encode() + b"\n")
        answer = await self._async_read()
        if "error" in answer:
            raise PortMapError(
                f"the gateway {self._gateway} refuses to map UDP {TUNNEL_PORT} by UPnP ({answer['error']}):"
                " allow port mapping in its settings"
            )
        return answer

    async def _async_read(self) -> dict[str, Any]:
        process = await self._async_process()
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(_ANSWER_S):
                line = await process.stdout.readline()
            answer = json.loads(line)
        except (TimeoutError, ValueError) as err:
            cause = f"no answer within {_ANSWER_S:g} s" if isinstance(err, TimeoutError) else "its helper ended"
            raise SilentGatewayError(f"no UPnP gateway is found ({cause})") from err
        return answer if isinstance(answer, dict) else {}

    async def _async_process(self) -> asyncio.subprocess.Process:
        self.start()
        assert self._starting is not None  # noqa: S101 - just started
        try:
            return await asyncio.shield(self._starting)
        except OSError as err:
            raise SilentGatewayError(f"UPnP is not tried, {sys.executable} can't be started ({err.strerror})") from err

    async def _async_spawn(self) -> asyncio.subprocess.Process:
        return await async_spawn("watcher.portmap.igd", str(self._own), str(self._gateway), limit=_LINE_OCTETS)
