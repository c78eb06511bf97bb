# SPDX-License-Identifier: GPL-3.0-or-later
"""An exchange that outlives a busy server: what a repeat may mend is repeated, on a new connection when need be."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Self, TypeVar

from .exchange import Exchange, Unreachable
from .update import UpdateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from dns.message import Message

Answer = TypeVar("Answer")

# Seconds: first wait, factor, cap.
_FIRST, _FACTOR, _CAP = 0.25, 3.0, 10.0


class Session:
    """Asks one server, and asks again after SERVFAIL, a timeout, or a connection that was cut.

    BIND drops or fails what exceeds its update and connection quotas, so waits are spread: a fleet must not march in
    step. REFUSED, NOTAUTH and whatever else no repeat mends is raised at once.
    """

    def __init__(self, connect: Callable[[], Exchange], retries: int = 3) -> None:
        """Remember how to connect.

        Args:
            connect: opens the connection; called again after one that broke.
            retries: how many times a question may be repeated.
        """
        self._connect = connect
        self._retries = retries
        self._exchange: Exchange | None = None

    def __enter__(self) -> Self:
        """Connect, so that a server that is not there is told before any work."""
        self.ask(lambda _: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._close()

    def ask(self, question: Callable[[Exchange], Answer]) -> Answer:
        """Return what `question` makes of the exchange; it is called once more for each retry.

        An UPDATE whose answer was lost is so sent twice, which is harmless unless it has prerequisites: then the second
        one may fail by what the first one did, and the caller must look again.

        Raises:
            UpdateError: the last one, when all retries are used up; or one that no retry mends.
        """
        left = self._retries
        while True:
            try:
                if self._exchange is None:
                    self._exchange = self._connect()
                return question(self._exchange)
            except UpdateError as error:
                if isinstance(error, Unreachable):
                    self._close()
                if not error.retryable or left <= 0:
                    raise
                wait = min(_FIRST * _FACTOR ** (self._retries - left), _CAP)
                time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - spread, not secrecy
                left -= 1

    def send(self, message: Message) -> Message:
        """Return the verified answer to a message.

        Raises:
            UpdateError: as for `ask`.
        """
        return self.ask(lambda exchange: exchange.send(message))

    def _close(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
