# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to the zone, and of its answer what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dns.message

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdatatype import RdataType

    from .peers import Asker


async def async_lookup(asker: Asker, name: Name, rdtype: RdataType) -> list[Any]:
    """Return the records of this type, whatever name an alias leads to; none when there are none.

    Raises:
        ZoneServerError, UpdateError: the zone could not be asked.
    """
    answer = await asker.async_exchange(dns.message.make_query(name, rdtype))
    return [rdata for rrset in answer.answer if rrset.rdtype == rdtype for rdata in rrset]
