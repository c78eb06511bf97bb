# SPDX-License-Identifier: GPL-3.0-or-later
"""Echoes through a tunnel while something goes on, each of which is judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.e2e.fleet import Fleet

PER_S = 5
# Until the file is there. Into a file: nobody reads a pipe meanwhile, and a full one would hold ping up.
_ASK = (
    "rm -f /run/over; ping -6 -i {interval} {target} > /run/echoes & until [ -e /run/over ]; do sleep 0.1; done\n"
    "kill -INT $!; wait; cat /run/echoes"
)


@contextmanager
def echoes(fleet: Fleet, client: str, target: str) -> Iterator[Callable[[], list[int]]]:
    """Have a host ask another for echoes beside the block; what is yielded ends that, and returns which were lost."""
    script = _ASK.format(interval=1 / PER_S, target=target)
    with fleet.started(client, "bash", "-c", script) as heard:

        def lost() -> list[int]:
            fleet.on(client, "touch", "/run/over")
            return unanswered(heard())

        yield lost


def unanswered(told: str) -> list[int]:
    """Return the numbers of the echoes that had no answer, but for the last second's: they may be on their way."""
    sent = re.search(r"^(\d+) packets transmitted", told, re.MULTILINE)
    assert sent, told
    heard = {int(number) for number in re.findall(r"^\d+ bytes from .*: icmp_seq=(\d+) ", told, re.MULTILINE)}
    assert heard, told
    return [number for number in range(1, int(sent[1]) - PER_S + 1) if number not in heard]
