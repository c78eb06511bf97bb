# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one zone as its primary has it: told by NOTIFY, and asking by itself in case that one got lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import dns.rdatatype

from .content import Content
from .errors import BadTransferError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dns.name import Name
    from dns.rdtypes.ANY.SOA import SOA

    from .content import Change
    from .transfer import Transfer
    from .upstream import Primary, Upstream

_LOGGER = logging.getLogger(__name__)

# BIND closes a silent connection after 30 s. Asking for the serial before that keeps the way open that a change takes.
POLL_S = 20.0
FIRST_RETRY_S, RETRY_FACTOR, LAST_RETRY_S = 0.25, 2.0, 10.0
UNSIGNED_S = 1.0  # seconds from one check that an unsigned NOTIFY causes to the next


@dataclass(frozen=True, slots=True)
class State:
    """How a zone stands.

    `serial` is None until the zone was had once. `stale` says that the primary could not be asked since `since`; when
    that is longer than the SOA's expire, `expired` is set too. What is held is served all the same.
    """

    serial: int | None
    stale: bool
    expired: bool
    since: str
    error: str | None


class Secondary:
    """One zone. `content` is None until the first transfer."""

    def __init__(
        self,
        zone: Name,
        upstream: Upstream,
        on_changes: Callable[[tuple[Change, ...]], None],
        on_state: Callable[[], None],
    ) -> None:
        """Remember where to fetch and who to tell.

        Args:
            zone: the zone.
            upstream: its primary; nobody else uses this connection.
            on_changes: told what each serial step changed, in their order; `content` is after the step then.
            on_state: called whenever `state` is another one.
        """
        self.zone = zone
        self.content: Content | None = None
        self._upstream = upstream
        # A primary that closes has been stopped, most likely; at a bounded rate, since it may do so for any reason.
        upstream.on_lost = lambda: self.notice(None, signed=False)
        self._on_changes = on_changes
        self._on_state = on_state
        self._woken = asyncio.Event()
        self._told = False
        self._next_unsigned = 0.0
        self._contact = 0.0  # when the primary last answered, monotonic seconds
        self.state = State(None, stale=True, expired=False, since=_now(), error=None)

    def move(self, primary: Primary) -> None:
        """Fetch from another primary, or with another key, from now on."""
        if self._upstream.move(primary):
            self._tell()

    def notice(self, serial: int | None, *, signed: bool) -> None:
        """Take note that the primary has something new; a signed one that has nothing new is forgotten."""
        loop = asyncio.get_running_loop()
        if signed:
            if serial is None or self.content is None or serial != self.content.serial:
                self._tell()
        elif loop.time() >= self._next_unsigned:
            self._next_unsigned = loop.time() + UNSIGNED_S
            self._tell()
        elif not self._told:
            # Later, but not never: this may be the only one.
            self._told = True
            loop.call_at(self._next_unsigned, self._tell)

    def _tell(self) -> None:
        self._told = True
        self._woken.set()

    async def async_run(self) -> None:
        """Keep the zone until cancelled."""
        failures = 0
        try:
            while True:
                self._woken.clear()
                told, self._told = self._told, False
                try:
                    await self._async_refresh(told=told)
                except UpstreamError as err:
                    self._failed(err)
                    failures += 1
                else:
                    self._went_well()
                    failures = 0
                await self._async_wait(failures)
        finally:
            self._upstream.close()

    async def _async_wait(self, failures: int) -> None:
        wait = POLL_S
        if failures:
            wait = min(FIRST_RETRY_S * RETRY_FACTOR ** (failures - 1), LAST_RETRY_S)
            wait *= random.uniform(0.75, 1.25)  # noqa: S311 - spread, not secrecy
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._woken.wait()

    async def _async_refresh(self, *, told: bool) -> None:
        """Fetch what is new. Who was told of something need not ask first whether there is something."""
        held = self.content
        if held is None:
            return self._replace(await self._upstream.async_transfer(self.zone, None))
        if not told and await self._upstream.async_serial(self.zone) == held.serial:
            return None
        try:
            transfer = await self._upstream.async_transfer(self.zone, held.serial)
            for step in transfer.steps:
                self._on_changes(held.apply(step))
        except BadTransferError as err:
            _LOGGER.warning("%s: the whole zone is fetched: %s", self.zone, err)
        else:
            if transfer.content is not None:
                return self._replace(transfer)
            if transfer.serial == held.serial:
                return None
            # Older than ours: the primary was put back to an earlier state, and it is the authority.
        return self._replace(await self._upstream.async_transfer(self.zone, None))

    def _replace(self, transfer: Transfer) -> None:
        """Take a whole zone, and tell only what is different in it."""
        newer = transfer.content
        if newer is None:
            raise BadTransferError(f"no whole zone of {self.zone} came, though it was asked for")
        former = self.content or Content(newer.serial)
        changes = former.difference(newer)
        self.content = newer
        self._on_changes(changes)

    def _went_well(self) -> None:
        self._contact = asyncio.get_running_loop().time()
        former, serial = self.state, self.content.serial if self.content else None
        if former.stale or former.error:
            _LOGGER.info("%s: current at serial %s", self.zone, serial)
            self._set(State(serial, stale=False, expired=False, since=_now(), error=None))
        elif serial != former.serial:
            self._set(replace(former, serial=serial))

    def _failed(self, err: UpstreamError) -> None:
        former, serial = self.state, self.content.serial if self.content else None
        silent_s = asyncio.get_running_loop().time() - self._contact
        expired = self.content is not None and silent_s > self._expire_s()
        since = former.since if former.stale else _now()
        if not former.stale or expired != former.expired or former.error != str(err):
            _LOGGER.warning("%s: %s, serial %s: %s", self.zone, "expired" if expired else "stale", serial, err)
        self._set(State(serial, stale=True, expired=expired, since=since, error=str(err)))

    def _expire_s(self) -> int:
        """How long the zone may be served without its primary (SOA EXPIRE, RFC 1035 section 3.3.13)."""
        sets = self.content.lookup(self.zone, dns.rdatatype.SOA) if self.content else ()
        return cast("SOA", sets[0].rdatas[0]).expire if sets else 0

    def _set(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._on_state()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
