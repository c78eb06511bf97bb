# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemon expects of a server that tells clients of changes (DNS Push, LLQ)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .access import Access
    from .config import Limits
    from .mirror import Mirror


class Service(Protocol):
    """One server, for all zones of the process; `kind` is its key in the status."""

    kind: str

    def __init__(self, mirror: Mirror, access: Access, limits: Limits) -> None:
        """Remember whom to ask; nothing is opened yet."""

    async def async_start(self, addresses: Sequence[str], port: int) -> None:
        """Listen at these addresses. Port 0 is a free one, in tests.

        Raises:
            OSError: the port is taken, or an address is not this host's.
        """

    def recheck(self) -> None:
        """Judge open sessions again: keys, certificates or zones have changed (`Access.opens`, `Mirror.zone_of`)."""

    def report(self) -> dict[str, Any]:
        """Return a few numbers for the status: sessions, subscriptions, events so far, who was turned away."""

    async def async_stop(self) -> None:
        """Stop listening, and end the sessions as the protocol has it."""
