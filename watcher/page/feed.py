# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the board up to date with one zone: by Push with the host's key, else by asking the daemon's stub."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.names import parse_zone
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from watcher.commands.local import ask
from watcher.commands.shared import cannot_browse, read_status
from watcher.push_follow import make_client
from watcher.zone_client import ZoneClient

from .document import describe
from .survey import Held, survey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Change, Question
    from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError, Server

    from watcher.config import Config

    from .board import Board
    from .survey import Surveyed

# Seconds.
TICK_S = 0.5  # how late it is seen at most what the daemon writes, while somebody looks
POLL_S = 5.0
POLL_SHARE = 0.05  # of the time at most goes into asking: a large zone is asked less often
SURVEY_SHARE = 0.2  # of the time at most goes into reading changes: 1,000 hosts take half a second
PUSH_WITHIN_S = 3.0  # so long the first Push session is waited for before the stub is asked
_GATHER_S = 0.02  # changes come in bursts
_SETTLE_S = 0.3  # what one answer names is asked for next; complete is what brings no more questions


class Feed:
    """One zone. With a configuration it follows; without, as for a user who can't read the key, it only asks."""

    def __init__(self, zone: str, board: Board, config: Config | None) -> None:
        """Prepare; nothing is asked yet, but what needs root is read.

        Raises:
            PushError: the owner CA can't be read.
        """
        self._zone = zone
        self._board = board
        self._hosts: list[Surveyed] | None = None
        self._fault: str | None = None
        self._held = Held(parse_zone(zone))
        self._client = (
            make_client(config, ZoneClient(config), self._changed, self._state, self._refuse) if config else None
        )
        self._server: Server | None = None
        self._refused = False  # whether the server leaves out any of what is followed
        self._method = "polling"
        self._took_s = 0.0
        self._gathering: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None

    async def async_run(self) -> None:
        """Keep the board up to date until cancelled."""
        loop = asyncio.get_running_loop()
        following, poll_at = None, loop.time()
        if self._client is not None:
            self._survey()
            following = asyncio.create_task(self._client.async_run())
            poll_at += PUSH_WITHIN_S
        try:
            while True:
                if self._board.watched:
                    if self._method == "polling" and loop.time() >= poll_at:
                        begun = loop.time()
                        await self._async_poll()
                        poll_at = loop.time() + max(POLL_S, (loop.time() - begun) / POLL_SHARE)
                    self._show()
                await asyncio.sleep(TICK_S)
        finally:
            if following is not None:
                following.cancel()

    async def _async_poll(self) -> None:
        try:
            hosts = await asyncio.to_thread(self._ask)
        except UpdateError as err:
            # What was known last stays on the page, with the reason beside it.
            self._fault = cannot_browse(self._zone, err)
        else:
            if self._method == "polling":
                self._hosts, self._fault = hosts, None

    def _ask(self) -> list[Surveyed]:
        with ask(self._zone) as exchange:
            return survey(exchange, parse_zone(self._zone))

    def _changed(self, changes: Sequence[Change]) -> None:
        self._held.take(changes)
        if self._gathering is None:
            wait = max(_GATHER_S, self._took_s / SURVEY_SHARE)
            self._gathering = asyncio.get_running_loop().call_later(wait, self._survey)

    def _survey(self) -> None:
        assert self._client is not None  # noqa: S101 - for the type checker: nothing changes without it
        self._gathering = None
        begun = time.monotonic()
        hosts, questions = self._held.survey()
        self._took_s = time.monotonic() - begun
        self._client.follow(questions)
        if self._method != "polling":
            self._hosts = hosts
            self._show()
        elif self._server is not None:
            self._settle()

    def _state(self, server: Server | None, _: PushError | None) -> None:
        self._server = server
        if server is None:
            self._method = "polling"
        else:
            self._settle()

    def _refuse(self, questions: AbstractSet[Question]) -> None:
        self._refused = bool(questions)
        if self._refused:
            self._method = "polling"  # a page of which a part stands still would be wrong
        elif self._server is not None:
            self._settle()

    def _settle(self) -> None:
        """Show what is followed once nothing new has come for a moment: half a fleet would read as hosts that left."""
        if self._settling is not None:
            self._settling.cancel()
        wait = max(_SETTLE_S, 2 * self._took_s / SURVEY_SHARE)
        self._settling = asyncio.get_running_loop().call_later(wait, self._live)

    def _live(self) -> None:
        if self._server is not None and not self._refused:
            self._method, self._fault = self._server.method, None
            self._survey()

    def _show(self) -> None:
        status = read_status(self._zone)
        self._board.show(
            self._zone,
            hosts=None if self._hosts is None else describe(self._hosts, status),
            follow=self._method,
            fault=self._fault or (status or {}).get("error"),
        )
