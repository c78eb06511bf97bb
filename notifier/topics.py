# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to be told of what: questions, each with those who asked it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ansible_collections.btmm.fleet.plugins.module_utils.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.btmm.fleet.plugins.module_utils.push import Question

    from .mirror import Change

Member = TypeVar("Member")


class Topic(Generic[Member]):
    """One question, and who asked it."""

    __slots__ = ("key", "members", "question")

    def __init__(self, key: tuple[bytes, ...], question: Question) -> None:
        self.key = key
        self.question = question
        self.members: set[Member] = set()


class Topics(Generic[Member]):
    """All topics, found by their names."""

    def __init__(self) -> None:
        self._topics: dict[tuple[bytes, ...], dict[tuple[int, int], Topic[Member]]] = {}

    def __iter__(self) -> Iterator[Topic[Member]]:
        """Go through all topics."""
        for kinds in self._topics.values():
            yield from kinds.values()

    def topic(self, question: Question) -> Topic[Member]:
        """Return the topic of a question, which is about to get a member."""
        key = folded(question.name)
        return self._topics.setdefault(key, {}).setdefault(question[1:], Topic(key, question))

    def leave(self, member: Member, topic: Topic[Member]) -> None:
        """Take a member off a topic; the last one takes the topic along."""
        topic.members.discard(member)
        if not topic.members:
            kinds = self._topics.get(topic.key, {})
            kinds.pop(topic.question[1:], None)
            if not kinds:
                self._topics.pop(topic.key, None)

    def concerned(self, key: tuple[bytes, ...]) -> Iterator[Topic[Member]]:
        """Go through the topics of one name, folded."""
        yield from self._topics.get(key, {}).values()

    def by_name(self, changes: Iterator[tuple[tuple[bytes, ...], Change]]) -> dict[tuple[bytes, ...], list[Change]]:
        """Group changes, each with its folded name, by names; those that nobody asked for are left out."""
        found: dict[tuple[bytes, ...], list[Change]] = {}
        for key, change in changes:
            if key in self._topics:
                found.setdefault(key, []).append(change)
        return found
