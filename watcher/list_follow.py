# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the owner's list of revoked certificates in the zone, and hands it to who may install it.

Followed is the digest beside it: a PUSH has room for 16,384 octets (RFC 8765 section 6.3.1), an event of LLQ by UDP for
far less, and what is too long is told to nobody. The list itself is asked for over a connection.

What the zone says is not believed here: `revoked.py`, which systemd starts when the file changes, looks at the owner's
signature and the list's number. So a server of the zone can withhold a list, but neither make one nor bring back an old
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background, cert_record, names, pem
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
from dns.rdatatype import RdataType

from .errors import WatcherError
from .lookup import async_lookup

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Config
    from .follow import RRsetName
    from .peers import Asker

_LOGGER = logging.getLogger(__name__)

SPACED_S = 2.0  # between two lists that are handed on: what takes one up should be done when the next comes
AGAIN_S = (2.0, 600.0)  # first and longest wait between attempts to ask
_MAX_OCTETS = 60_000  # what a message of DNS carries


class ListFollow:
    """Keeps a file equal to the list in the zone."""

    def __init__(self, config: Config, asker: Asker, path: Path) -> None:
        self._asker = asker
        self._path = path
        self._asking = background.Repeated(self._async_look)
        self._wait_s = AGAIN_S[0]
        self._name = names.crl_name(config.zone)
        self.set: RRsetName = (self._name, RdataType.TXT)

    def look(self) -> None:
        """Ask for the list as it is now, for as long as it takes."""
        self._asking.again()

    def stop(self) -> None:
        """Ask no more."""
        self._asking.stop()

    async def _async_look(self) -> None:
        try:
            self._keep(await self._async_ask())
        except (WatcherError, UpdateError, OSError) as err:
            if self._wait_s == AGAIN_S[0]:
                _LOGGER.info("the list of revoked certificates stays as it was: %s", err)
            self._asking.again()
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(self._wait_s * 2, AGAIN_S[1])
        else:
            self._wait_s = AGAIN_S[0]
            await asyncio.sleep(SPACED_S)

    async def _async_ask(self) -> list[bytes]:
        records = await async_lookup(self._asker, self._name, RdataType.CERT)
        # Two while the owner's CA is changed; a record set has no order.
        return sorted(bytes(each.certificate) for each in records if each.certificate_type == cert_record.PKIX)

    def _keep(self, lists: list[bytes]) -> None:
        if not lists:
            return  # a zone that has none takes none away
        if (size := sum(map(len, lists))) > _MAX_OCTETS:
            _LOGGER.warning("the list of revoked certificates in the zone has %d octets, so it is not taken", size)
            return
        content = "".join(pem.encode(pem.LIST, der) for der in lists).encode()
        with contextlib.suppress(FileNotFoundError):
            if self._path.read_bytes() == content:
                return
        write_atomic(self._path, content)
