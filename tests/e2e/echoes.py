# SPDX-License-Identifier: GPL-3.0-or-later
"""Echoes through a tunnel while something goes on, of which none may be lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.fleet import Fleet

# Until the file is there. Into a file: nobody reads a pipe meanwhile, and a full one would hold ping up.
_ASK = (
    "rm -f /run/over; ping -6 -i 0.2 {target} > /run/echoes & until [ -e /run/over ]; do sleep 0.1; done\n"
    "kill -INT $!; wait; cat /run/echoes"
)


@contextmanager
def unbroken(fleet: Fleet, client: str, target: str) -> Iterator[None]:
    """Have a host ask another for echoes while the block runs, and see that each was answered."""
    with fleet.started(client, "bash", "-c", _ASK.format(target=target)) as heard:
        yield
        fleet.on(client, "touch", "/run/over")
        told = heard()
    assert not (lost := unanswered(told)), f"echoes that were lost: {lost}\n{told}"


def unanswered(told: str) -> list[int]:
    """Return the numbers of the echoes that had no answer, but for the last: that may be on its way at the end."""
    sent = re.search(r"^(\d+) packets transmitted", told, re.MULTILINE)
    assert sent, told
    heard = {int(number) for number in re.findall(r"^\d+ bytes from .*: icmp_seq=(\d+) ", told, re.MULTILINE)}
    assert heard, told
    return [number for number in range(1, int(sent[1])) if number not in heard]
