# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change of the zone is to a subscriber, in as few notifications as can say it (RFC 8765 section 6.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils import push

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dns.name import Name

    from .mirror import Change, RRset


def concerns(changed: int, wanted: int) -> bool:
    """Whether a record of one type is to be told to a subscriber to another: a CNAME stands for every type."""
    return wanted in (push.ANY, changed) or changed == dns.rdatatype.CNAME


def initial(sets: Iterable[RRset], rdtype: int) -> list[push.Change]:
    """Return what a new subscriber is told first: all that is there."""
    return [
        push.Change(each.name, each.rdtype, each.ttl, rdata)
        for each in sets
        if concerns(each.rdtype, rdtype)
        for rdata in each.rdatas
    ]


def notifications(name: Name, changes: Iterable[Change], left: Mapping[int, int], rdtype: int) -> list[push.Change]:
    """Return what a subscriber to `rdtype` of a name hears of one step.

    Args:
        name: the owner name.
        changes: what the step does to RRsets of this name.
        left: how many records of which type the name has after the step; types without records are left out.
        rdtype: the type, or ANY.
    """
    mine = [change for change in changes if concerns(change.rdtype, rdtype)]
    if mine and not left:
        return [push.Change(name, push.ANY, push.REMOVE_ALL)]
    found = []
    for change in mine:
        count = left.get(change.rdtype, 0)
        # All that was there is gone when nothing but what was added is left. Once for all is shorter than one by one.
        if change.removed and (count == 0 or (count == len(change.added) and len(change.removed) > 1)):
            found.append(push.Change(name, change.rdtype, push.REMOVE_ALL))
        else:
            found += [push.Change(name, change.rdtype, push.REMOVE, rdata) for rdata in change.removed]
        found += [push.Change(name, change.rdtype, change.ttl, rdata) for rdata in change.added]
    return found
