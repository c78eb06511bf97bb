# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlives the process, for all daemons of a host together: each gateway's nonce and port, and who uses them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import json_files, pcp

from .mapping import TUNNEL_PORT, Method

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address
    from pathlib import Path
    from typing import Any

FILE = "portmap.json"

_REMEMBERED = 16  # networks that a laptop goes back to
_BUSY_S = 0.05


@dataclass(frozen=True, slots=True)
class Memory:
    """One gateway: the token that owns the mapping (RFC 6887 section 11.2), the port granted last, and by what."""

    nonce: str
    port: int = TUNNEL_PORT
    method: Method = "none"


class Store:
    """Reads and writes under a lock, since every zone of a host has a process of its own and they share the mapping.

    Who uses the mapping holds a shared lock on a file. The kernel drops it with the process, so there are no stale
    users; who leaves and gets the file for itself was the last. Where a lock's file can't be had, as on a disk that is
    full or read-only, things go on without: two zones may then have two ports, and the mapping is left to its lease.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._used: int | None = None
        self._known: dict[str, Memory] = {}

    def recall(self, gateway: IPv4Address) -> Memory:
        """Return what is known of a gateway; a new one gets a nonce that stays."""
        with self._locked():
            gateways = self._read()
            memory = gateways.get(str(gateway)) or self._known.get(str(gateway))
            if memory is None:
                memory = Memory(secrets.token_hex(pcp.NONCE_OCTETS))
                self._write(gateways, str(gateway), memory)
        self._known[str(gateway)] = memory  # should the disk be full, this process at least keeps its nonce
        return memory

    def note(self, gateway: IPv4Address, port: int, method: Method) -> None:
        """Remember what a gateway granted."""
        memory = replace(self.recall(gateway), port=port, method=method)
        self._known[str(gateway)] = memory
        with self._locked():
            gateways = self._read()
            if gateways.get(str(gateway)) != memory:
                self._write(gateways, str(gateway), memory)

    async def async_join(self) -> None:
        """Say that this process uses the mapping; waits while the last user takes it down."""
        if self._used is not None:
            return
        descriptor = self._open("portmap.users")
        while descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_BUSY_S)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                self._used = descriptor
                return

    def leave(self) -> None:
        """End the use of the mapping, whoever else has it."""
        if self._used is not None:
            os.close(self._used)
            self._used = None

    @contextlib.contextmanager
    def leaving(self) -> Iterator[bool]:
        """End the use of the mapping; yields whether nobody else has it, and keeps others out for the block."""
        descriptor, self._used = self._used, None
        if descriptor is None:
            yield False
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = self._open("portmap.lock")
        try:
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open(self, name: str) -> int | None:
        path = self._path.with_name(name)
        try:
            # To read only: a file that is there can then be locked on a read-only disk, too.
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            json_files.failed(path, err)
            return None
        json_files.written(path)
        return descriptor

    def _read(self) -> dict[str, Memory]:
        """Each gateway, the one of the last grant last; what is damaged is left out."""
        gateways = json_files.read(self._path).get("gateways")
        known = gateways.items() if isinstance(gateways, dict) else ()
        return {address: memory for address, value in known if (memory := _memory(value)) is not None}

    def _write(self, gateways: dict[str, Memory], address: str, memory: Memory) -> None:
        gateways.pop(address, None)
        gateways[address] = memory
        recent = list(gateways.items())[-_REMEMBERED:]
        json_files.write(self._path, {"gateways": {name: asdict(value) for name, value in recent}})


def _memory(value: Any) -> Memory | None:  # noqa: ANN401 - JSON
    try:
        memory = Memory(**value)
        good = len(bytes.fromhex(memory.nonce)) == pcp.NONCE_OCTETS and 0 < memory.port < 1 << 16
    except (TypeError, ValueError):
        return None
    return memory if good and memory.method in {"none", "pcp", "nat-pmp", "upnp"} else None
