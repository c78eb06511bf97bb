# SPDX-License-Identifier: GPL-3.0-or-later
"""The TUN of a zone: the link to which systemd-resolved ties the names of the zone (docs/architecture.md)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config

MTU = 1280  # the least that IPv6 allows (RFC 8200 section 5): fits every outer path
TABLE = "220"  # charon.routing_table by default
TUN_DEVICE = Path("/dev/net/tun")

_AT_ONCE = 64  # packets read before others have their turn

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000


class Link:
    """Lives as long as the process: when it goes, the kernel removes the link, and resolved forgets its settings."""

    def __init__(self, packet: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self._packet = packet
        self._fd: int | None = None

    async def async_open(self, config: Config) -> None:
        """Make the link and route the zone's names, and those of its reverse zone, to the stub.

        Raises:
            LinkError: no TUN device, or a command failed; the link is gone again.
        """
        self.close()
        name = config.link_name
        try:
            fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as err:
            raise LinkError(f"{TUN_DEVICE} can't be opened ({err.strerror}): load the kernel module tun") from err
        try:
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
        except OSError as err:
            os.close(fd)
            raise LinkError(f"the link {name} can't be made ({err.strerror}): stop what else uses it") from err
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._read)
        try:
            # IPv6 link-local addresses off, before the link is up: nothing speaks here, nothing should be announced.
            await _async_run("ip", "link", "set", name, "mtu", str(MTU), "addrgenmode", "none")
            await _async_run("ip", "link", "set", name, "up")
            await _async_run("ip", "-6", "address", "replace", f"{config.host.ula}/128", "dev", name, "nodad")
            # What has no tunnel yet comes here (`demand`): charon's routes to single hosts are in this table, and win.
            way = (str(config.prefix), "dev", name, "src", str(config.host.ula), "metric", "2048", "table", TABLE)
            await _async_run("ip", "-6", "route", "replace", *way)
            for arguments in _resolved_settings(config):
                await _async_run("resolvectl", *arguments)
        except LinkError:
            self.close()
            raise

    def close(self) -> None:
        """Remove the link."""
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            if self._fd is None:
                return
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return
            self._packet(data, self._write)

    def _write(self, data: bytes) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._fd, data)


def _resolved_settings(config: Config) -> tuple[tuple[str, ...], ...]:
    # Every setting of its own: resolvectl has no way to give several at once. The stub is on loopback and has
    # checked what it says (TLS, TSIG), so DNSSEC and DNS over TLS have nothing to add here.
    zones = [f"~{zone.to_text(omit_final_dot=True)}" for zone in (config.zone, config.reverse_zone)]
    name = config.link_name
    port = "" if config.stub_port == 53 else f":{config.stub_port}"
    return (
        ("default-route", name, "no"),
        ("llmnr", name, "no"),
        ("mdns", name, "no"),
        ("dnssec", name, "no"),
        ("dnsovertls", name, "no"),
        ("dns", name, f"{config.stub_address}{port}"),
        ("domain", name, *zones),
    )


async def _async_run(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(5):
            output, _ = await process.communicate()
    except (OSError, TimeoutError) as err:
        cause = str(err) or "no end after 5 s"
        raise LinkError(f"'{' '.join(command)}' failed ({cause}): install or start its service") from err
    if process.returncode:
        words = " ".join(output.decode(errors="replace").split())
        raise LinkError(f"'{' '.join(command)}' failed: {words or f'exit status {process.returncode}'}")
