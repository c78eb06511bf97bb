# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a child of the daemon judge what peers tell of their realms (`realm_check`): one for all that is due at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Self

from .child import async_spawn

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_S = 20.0  # Python's start, and openssl's; a busy machine takes longer
_LINE_OCTETS = 1 << 16
MAX_CERTIFICATE = 16384  # octets; ours have 700


class Judge:
    """One child, started when the first certificate comes."""

    def __init__(self, authority: Path, revoked: Path) -> None:
        self._arguments = (str(authority), str(revoked))
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._async_end()

    async def async_refusal(self, host: str, realm: str, certificate: bytes) -> str | None:
        """Return why a certificate (DER) does not prove that the host has the realm; None when it does."""
        if len(certificate) > MAX_CERTIFICATE:
            return f"its certificate has more than {MAX_CERTIFICATE} octets"
        try:
            if self._process is None:
                self._process = await async_spawn("watcher.realm_check", *self._arguments, limit=_LINE_OCTETS)
            process = self._process
            assert process.stdin is not None  # noqa: S101 - both were asked for
            assert process.stdout is not None  # noqa: S101
            asked = {"host": host, "realm": realm, "certificate": certificate.hex()}
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            async with asyncio.timeout(_ANSWER_S):
                answer = json.loads(await process.stdout.readline())
            reason: str | None = answer["reason"]
        except (OSError, TimeoutError, ValueError, KeyError, TypeError) as err:
            # What it says too late would be read as its word on the next host.
            await self._async_end()
            return f"what judges it does not work ({str(err) or type(err).__name__})"
        return reason

    async def _async_end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
