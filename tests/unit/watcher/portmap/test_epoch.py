# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 6886 section 3.6 and RFC 6887 section 8.5, at their edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from watcher.portmap.epoch import Epochs

if TYPE_CHECKING:
    from watcher.portmap.mapping import Method


@pytest.mark.parametrize(
    ("method", "elapsed", "epoch", "lost"),
    [
        ("nat-pmp", 800, 10_800, False),
        ("nat-pmp", 800, 10_698, False),  # 7/8 of 800 s, and 2 s
        ("nat-pmp", 800, 10_697, True),
        ("nat-pmp", 800, 99_999, False),  # it may be fast
        ("nat-pmp", 1, 0, True),
        ("pcp", 800, 10_800, False),
        ("pcp", 0.1, 9_999, False),  # back by one second
        ("pcp", 0.1, 9_998, True),
        ("pcp", 800, 10_748, False),  # server + 2 = 750 = 800 - 800/16
        ("pcp", 800, 10_747, True),
        ("pcp", 748, 10_800, False),  # client + 2 = 750 = 800 - 800/16
        ("pcp", 747, 10_800, True),
        ("upnp", 800, None, False),
    ],
)
def test_what_is_lost(method: Method, elapsed: float, epoch: int | None, lost: bool) -> None:
    epochs = Epochs()
    assert not epochs.lost(method, 10_000, 50.0)
    assert epochs.lost(method, epoch, 50.0 + elapsed) is lost


def test_each_protocol_has_its_own_clock() -> None:
    epochs = Epochs()
    epochs.lost("pcp", 10_000, 0)
    assert not epochs.lost("nat-pmp", 5, 1)


def test_after_a_loss_the_new_clock_counts() -> None:
    epochs = Epochs()
    epochs.lost("pcp", 10_000, 0)
    assert epochs.lost("pcp", 0, 100)
    assert not epochs.lost("pcp", 100, 200)
