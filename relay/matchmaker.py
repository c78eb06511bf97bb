# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct connections through two NATs: learn how each maps UDP 4500, have one opened, and the other end call.

Only the called end sends a datagram ahead. From the caller one might reach the other NAT too early, and there take the
place in its table that the call needs.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils.rendezvous import Failed, Punch, Ready

from .errors import RelayError

if TYPE_CHECKING:
    from .session import Outer, Session

WAIT_S = 1.5  # a request waits, and after it the relay is tried


@dataclass
class _Meeting:
    caller: Session
    called: Session
    number: int
    timer: asyncio.TimerHandle | None = None
    endpoint: Outer | None = None  # of the called, once it is known


class Matchmaker:
    """Meetings under way, one for each request."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._meetings: dict[str, _Meeting] = {}

    def begin(self, caller: Session, called: Session, number: int) -> None:
        """Ask both hosts where their UDP 4500 is seen just now: what was seen before, the NAT may have forgotten."""
        name = secrets.token_hex(16)
        meeting = _Meeting(caller, called, number)
        loop = asyncio.get_running_loop()
        meeting.timer = loop.call_later(WAIT_S, self._fail, name, "no answer of both hosts' NATs in time")
        self._meetings[name] = meeting
        caller.observe(self._ports, name, called.label)
        called.observe(self._ports, name, caller.label)

    def seen(self, session: Session) -> None:
        """Go on with the meetings of a host of which more is known now."""
        for name, meeting in list(self._meetings.items()):
            if session in (meeting.caller, meeting.called) and meeting.endpoint is None:
                self._judge(name, meeting)

    def punched(self, session: Session, name: str) -> None:
        """The called host opened its NAT: the caller may call."""
        meeting = self._meetings.get(name)
        if meeting is not None and session is meeting.called and meeting.endpoint is not None:
            self._end(name)
            meeting.caller.send(Ready(meeting.number, name, *meeting.endpoint))

    def lost(self, session: Session) -> None:
        """Give up what a host took part in that is gone."""
        for name, meeting in list(self._meetings.items()):
            if session in (meeting.caller, meeting.called):
                self._fail(name, f"{session.label} left the relay")

    def close(self) -> None:
        """Forget all."""
        for name in list(self._meetings):
            self._end(name)

    def _judge(self, name: str, meeting: _Meeting) -> None:
        pair = (meeting.caller, meeting.called)
        if any(len(each.seen) < len(self._ports) for each in pair):
            return
        try:
            ends = [endpoint_of(each) for each in pair]
            if ends[0][0].version != ends[1][0].version:
                raise RelayError(f"{pair[0].label} and {pair[1].label} have no family of addresses in common")
            if same_nat(*ends):
                raise RelayError(f"{pair[0].label} and {pair[1].label} are behind the same NAT")
        except RelayError as error:
            self._fail(name, str(error))
            return
        meeting.endpoint = ends[1]
        meeting.called.send(Punch(name, *ends[0]))

    def _fail(self, name: str, reason: str) -> None:
        meeting = self._end(name)
        meeting.caller.send(Failed(meeting.number, reason))

    def _end(self, name: str) -> _Meeting:
        meeting = self._meetings.pop(name)
        if meeting.timer is not None:
            meeting.timer.cancel()
        return meeting


def endpoint_of(session: Session) -> Outer:
    """Return the outer address and port that a host has toward everybody.

    Raises:
        RelayError: its NAT gives it another one toward each destination (address- and port-dependent mapping, RFC 4787
            section 4.1), so nobody else can foretell it.
    """
    found = set(session.seen.values())
    if len(found) != 1:
        raise RelayError(f"the NAT of {session.label} gives another port to every destination")
    return next(iter(found))


def same_nat(first: Outer, second: Outer) -> bool:
    """Tell whether two hosts share an outer address: few NATs send back inside what comes from inside."""
    return first[0] == second[0]
