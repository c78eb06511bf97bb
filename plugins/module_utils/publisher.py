# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a zone to what many hosts want, such that no host fails for another's fault.

When the server refuses a message, its hosts are tried in halves, until those that it refuses stand alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .ownership import Content
from .publication import Change, Wanted, pack, plan, plan_withdrawal
from .records import rrset
from .update import (
    PrerequisiteFailed,
    ServerFailed,
    UpdateError,
    UpdateRefused,
    UpdateRejected,
    change,
    require,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dns.message import Message
    from dns.name import Name
    from dns.update import UpdateMessage

    from .exchange import Exchange
    from .session import Session

_TRIES = 4  # how often somebody else may have been faster
# What can be one host's fault; anything else is true of every message.
_OWN_FAULT = (UpdateRefused, UpdateRejected, PrerequisiteFailed, ServerFailed)


@dataclass(slots=True)
class Outcome:
    """What became of the hosts: a change for each that differed, a sentence for each that failed."""

    changes: dict[str, Change] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    messages: int = 0


def publish(
    session: Session,
    zone: Name,
    hosts: Sequence[Wanted],
    *,
    owner_zone: Name | None = None,
    check: bool = False,
    guarded: bool = False,
) -> Outcome:
    """Bring the zone to what the hosts want.

    Args:
        session: asks the zone's primary.
        zone: the zone of all records.
        hosts: what each wants, in the order in which they may claim names.
        owner_zone: the zone of the hosts' own names, if `zone` is the ip6.arpa zone.
        check: only read and compare.
        guarded: the server makes sure that all is still as it was read (RFC 2136 section 2.4), and if it is not, it is
            read and compared again. Else the last writer wins.

    Raises:
        UpdateError: nobody can be published: the server is away, not the primary, or does not know the key.
    """
    sets = {rrset(record): (record.name, record.rdata.rdtype) for host in hosts for record in host.records}

    def look(exchange: Exchange) -> Content:
        try:
            records = exchange.transfer(zone)
        except UpdateRefused:
            # Who may not transfer may still ask for what it wants to write.
            records = [record for found in exchange.lookups(list(sets.values())) for record in found]
        return Content(owner_zone or zone, records)

    return _Bringing(session, zone, check=check, guarded=guarded).run(look, lambda content: plan(content, hosts))


def withdraw(
    session: Session, zone: Name, labels: Sequence[str], *, owner_zone: Name | None = None, check: bool = False
) -> Outcome:
    """Take all records of hosts out of the zone, also those that a host writes meanwhile.

    Raises:
        UpdateError: as for `publish`; REFUSED too, since what is there can be found by transfer only.
    """
    return _Bringing(session, zone, check=check, guarded=True).run(
        lambda exchange: Content(owner_zone or zone, exchange.transfer(zone)),
        lambda content: (plan_withdrawal(content, labels), {}),
    )


class _Bringing:
    """One call of `publish` or `withdraw`."""

    def __init__(self, session: Session, zone: Name, *, check: bool, guarded: bool) -> None:
        self._session = session
        self._zone = zone
        self._check = check
        self._guarded = guarded
        self._outcome = Outcome()

    def run(
        self, look: Callable[[Exchange], Content], compare: Callable[[Content], tuple[list[Change], dict[str, str]]]
    ) -> Outcome:
        """Read, compare and send; again for the hosts whose records somebody changed in between."""
        outcome = self._outcome
        raced: dict[str, UpdateError] = {}
        for _ in range(_TRIES):
            content = self._session.ask(look)
            changes, refused = compare(content)
            if raced:
                changes = [each for each in changes if each.host in raced]
            else:
                outcome.failed.update(refused)
            for each in changes:
                outcome.changes.setdefault(each.host, each)
            if self._check or not changes:
                return outcome
            failures = self._send(changes, content)
            raced = {host: error for host, error in failures.items() if isinstance(error, PrerequisiteFailed)}
            final = {host: error for host, error in failures.items() if host not in raced}
            self._fail(final)
            if not raced:
                return outcome
        self._fail(raced)
        return outcome

    def _fail(self, errors: dict[str, UpdateError]) -> None:
        for host, error in errors.items():
            self._outcome.failed[host] = str(error)
            self._outcome.changes.pop(host, None)

    def _send(self, changes: list[Change], content: Content) -> dict[str, UpdateError]:
        """Send all changes; return what the server does not like about a host that stands alone."""
        failures: dict[str, UpdateError] = {}
        batches = list(pack(changes))
        while batches:
            divided: list[list[Change]] = []
            for batch, error in self._round(batches, content):
                if not isinstance(error, _OWN_FAULT):
                    raise error
                if len(batch) == 1:
                    failures[batch[0].host] = error
                else:
                    middle = len(batch) // 2
                    divided += [batch[:middle], batch[middle:]]
            batches = divided
        return failures

    def _round(self, batches: list[list[Change]], content: Content) -> list[tuple[list[Change], UpdateError]]:
        """Send each batch as one message, several at a time; return those that failed."""
        answers: dict[int, Message | UpdateError] = {}

        def send(exchange: Exchange) -> None:
            left = [index for index in range(len(batches)) if index not in answers]
            failed: UpdateError | None = None
            messages = self._messages([batches[index] for index in left], content)
            for index, answer in zip(left, exchange.send_all(messages), strict=True):
                if isinstance(answer, UpdateError) and answer.retryable:
                    failed = answer
                else:
                    answers[index] = answer
            if failed is not None:
                raise failed

        try:
            self._session.ask(send)
        except ServerFailed as error:
            answers.update({index: error for index in range(len(batches)) if index not in answers})
        return [(batches[index], answer) for index, answer in answers.items() if isinstance(answer, UpdateError)]

    def _messages(self, batches: list[list[Change]], content: Content) -> Iterator[UpdateMessage]:
        for batch in batches:
            wanted = [record for each in batch for record in each.wanted]
            previous = [record for each in batch for record in each.previous]
            message = change(self._zone, wanted, previous)
            if self._guarded:
                touched = {owner: record for each in batch for owner, record in each.sets().items()}
                for owner, record in touched.items():
                    require(message, record.name, record.rdata.rdtype, content.rrsets.get(owner, []))
            self._outcome.messages += 1
            yield message
