# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows records by DNS Push (RFC 8765), or by LLQ (RFC 8764): one session to one of several servers, kept up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .dso import DsoError
from .llq_channel import Connection, async_datagrams
from .llq_session import LlqSession
from .push_introduction import async_introduce
from .push_session import Session
from .push_view import View
from .tcp import abort
from .update import UpdateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    import dns.tsig

    from .push import Change, Question

CONNECT_WITHIN_S = 5.0
STEADY_S = 10.0  # a session that lasted so long was a good one, and the next is tried at once
FIRST_RETRY_S, RETRY_FACTOR, LAST_RETRY_S = 1.0, 2.0, 60.0
AGAIN_S = 300.0  # after a refusal that does not say for how long it holds
BETTER_S = 900.0  # how long a session lasts whose kind is not the best: then the better one may be back
BROKEN_S = 3600.0  # how long a server that breaks the protocol is not asked (RFC 8490 section 6.6.3.3)


class PushError(Exception):
    """No session could be had, or one was lost; one sentence."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server: the name that its certificate must bear, its addresses, its port, and what it is."""

    name: str
    addresses: tuple[str, ...]
    port: int
    kind: Literal["push", "llq-tls", "llq"] = "push"

    @property
    def method(self) -> str:
        """Which protocol it speaks, over whatever."""
        return self.kind.partition("-")[0]

    def __str__(self) -> str:
        """Return the form that messages use."""
        what = "Push" if self.kind == "push" else "LLQ"
        return f"the {what} server {self.name} ({', '.join(self.addresses)} port {self.port})"


class PushClient:
    """Follows questions. Told of are single records that came or went, and whether there is a session."""

    def __init__(
        self,
        find_servers: Callable[[], Awaitable[Sequence[Server]]],
        make_context: Callable[[], ssl.SSLContext],
        on_changes: Callable[[Sequence[Change]], None],
        on_state: Callable[[Server | None, PushError | None], None] = lambda _server, _error: None,
        key: dns.tsig.Key | None = None,
        on_refused: Callable[[AbstractSet[Question]], None] = lambda _questions: None,
    ) -> None:
        """Remember what to do; nothing is opened yet.

        Args:
            find_servers: returns the servers, the best first; asked again before each round of attempts.
            make_context: returns, for each session, what trusts the owner CA as it is then, and shows a certificate
                when there is no key.
            on_changes: told of changes; after a loss of the session only of what is different from before.
            on_state: told of a new session once its answers are complete, and of its loss with the reason.
            key: this host's TSIG key, which tells the server who it is.
            on_refused: told which questions the server does not follow, though it follows others, whenever that is
                different. They are asked again when the server has said so.
        """
        self._find_servers = find_servers
        self._make_context = make_context
        self._on_changes = on_changes
        self._on_state = on_state
        self._key = key
        self._on_refused = on_refused
        self._wanted: dict[Question, None] = {}
        self._any_wanted = asyncio.Event()
        self._anew = asyncio.Event()
        self._view = View()
        self._session: Session | LlqSession | None = None
        self._not_before: dict[Server, float] = {}
        self._refused: AbstractSet[Question] = frozenset()
        self._asking_again: asyncio.TimerHandle | None = None

    def follow(self, questions: Iterable[Question]) -> None:
        """Follow these questions from now on, and no others."""
        wanted = dict.fromkeys(questions)
        self._view.follow(wanted)
        if self._session is not None:
            for question in [each for each in self._wanted if each not in wanted]:
                self._session.unsubscribe(question)
        added = [each for each in wanted if each not in self._wanted]
        self._wanted = wanted
        if wanted:
            self._any_wanted.set()
        else:
            self._any_wanted.clear()
        if self._session is not None and added:
            self._session.subscribe(added)
        self._tell_refused()

    def reconnect(self) -> None:
        """Give the session up, as after a change of address: the next one begins at once."""
        self._not_before.clear()
        self.hasten()
        if self._session is not None:
            self._session.abort()

    def hasten(self) -> None:
        """Wait no longer for the next attempt, as when the network is back."""
        self._anew.set()

    async def async_run(self) -> None:
        """Keep a session whenever there is anything to follow, until cancelled."""
        failures = 0
        while True:
            await self._any_wanted.wait()
            self._anew.clear()
            error: PushError | None = None
            lasted = False
            try:
                servers = await self._find_servers()
            except PushError as err:
                servers, error = (), err
            for server in servers:
                if self._not_before.get(server, 0.0) > asyncio.get_running_loop().time():
                    continue
                lasted, ended = await self._async_session(server, best=server.kind == servers[0].kind)
                error = ended or error
                # On another network the best server comes first again, and not the next.
                if lasted or not self._wanted or self._anew.is_set():
                    break
            if not self._wanted:
                continue
            failures = 0 if lasted else failures + 1
            self._on_state(None, error or PushError("there is no Push or LLQ server that can be asked now"))
            if failures:
                wait = min(FIRST_RETRY_S * RETRY_FACTOR ** (failures - 1), LAST_RETRY_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait * random.uniform(0.75, 1.25)):  # noqa: S311 - spread, not secrecy
                        await self._anew.wait()
                        failures = 0

    async def _async_session(self, server: Server, *, best: bool) -> tuple[bool, PushError | None]:
        """Hold one session; return whether it was established, and why it ended."""
        loop = asyncio.get_running_loop()
        try:
            session = self._session = await self._async_open(server)
        except PushError as err:
            return False, err
        self._tell_refused()
        begun = loop.time()
        ending = None if best else loop.call_later(BETTER_S, session.close)

        def steady() -> bool:
            return session.synced and loop.time() - begun > STEADY_S

        try:
            await session.async_hold(list(self._wanted))
        except DsoError as err:
            self._not_before[server] = loop.time() + BROKEN_S
            return steady(), PushError(f"{server} breaks the protocol ({err}): see its log")
        except (OSError, EOFError) as err:
            reason = getattr(err, "strerror", None) or "the connection ended"
            return steady(), PushError(f"{server} is lost: {reason}; see that it runs")
        finally:
            if ending is not None:
                ending.cancel()
            self._session = None
            if self._asking_again is not None:
                self._asking_again.cancel()
                self._asking_again = None
            self._view.doubt()
            if session.stay_away_s is not None:
                self._not_before[server] = loop.time() + session.stay_away_s
        if session.refused:
            reason = next(iter(session.refusals.values()))
            return False, PushError(f"{server} refuses ({reason}): see that it serves the zone, and knows this host")
        return steady(), None

    async def _async_open(self, server: Server) -> Session | LlqSession:
        causes = []
        for address in server.addresses:
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    return await self._async_begin(server, address)
            except TimeoutError:
                causes.append("no answer")
            except ssl.SSLCertVerificationError as err:
                causes.append(f"its certificate is not trusted: {err.verify_message}")
            except OSError as err:
                causes.append(err.strerror or str(err))
            except EOFError:
                causes.append("it closes the connection")
            except UpdateError as err:
                raise PushError(str(err)) from err
        why = ", ".join(dict.fromkeys(causes)) or "it has no address"
        raise PushError(f"{server} can't be reached: {why}; see that it runs, and lets us in there")

    async def _async_begin(self, server: Server, address: str) -> Session | LlqSession:
        def synced() -> None:
            self._synced(server)

        if server.kind == "llq":
            return LlqSession(
                await async_datagrams(address, server.port), self._key, self._told, synced, self._refusals_changed
            )
        context = self._make_context()
        streams = await asyncio.open_connection(address, server.port, ssl=context, server_hostname=server.name)
        if server.kind == "llq-tls":
            return LlqSession(Connection(streams), self._key, self._told, synced, self._refusals_changed)
        if self._key is not None:
            try:
                await async_introduce(streams, server.name, self._key, str(server))
            except BaseException:
                abort(streams[1])
                raise
        return Session(streams, self._told, synced, self._refusals_changed)

    def _told(self, changes: Sequence[Change]) -> None:
        different = self._view.apply(changes)
        if different:
            self._on_changes(different)

    def _refusals_changed(self) -> None:
        self._tell_refused()
        if self._session is not None and self._refused and self._asking_again is None:
            again_s = AGAIN_S if self._session.again_s is None else max(self._session.again_s, FIRST_RETRY_S)
            self._asking_again = asyncio.get_running_loop().call_later(again_s, self._ask_again, self._session)

    def _ask_again(self, session: Session | LlqSession) -> None:
        """Ask for what was refused (RFC 8765 section 6.2.2): somebody else's may have ended, or the zone be there."""
        self._asking_again = None
        session.subscribe([question for question in self._wanted if question in session.refusals])

    def _tell_refused(self) -> None:
        refused = frozenset(self._session.refusals) if self._session is not None else frozenset()
        if refused != self._refused:
            self._refused = refused
            self._on_refused(refused)

    def _synced(self, server: Server) -> None:
        gone = self._view.settle()
        if gone:
            self._on_changes(gone)
        self._on_state(server, None)
