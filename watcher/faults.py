# SPDX-License-Identifier: GPL-3.0-or-later
"""What does not work now: the status shows the first fault, the log every new one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .backoff import is_final

if TYPE_CHECKING:
    from .status import Status

_LOGGER = logging.getLogger(__name__)


class Faults:
    """The faults of one host, by the part of the daemon that has them."""

    def __init__(self, label: str, status: Status) -> None:
        self._label = label
        self._status = status
        self._faults: dict[str, Exception] = {}

    def __contains__(self, part: str) -> bool:
        return part in self._faults

    def tell(self, part: str, err: Exception | None) -> None:
        """Note that a part works, or why it does not."""
        if err is None:
            self._faults.pop(part, None)
        else:
            if str(err) != str(self._faults.get(part)):
                _LOGGER.error("%s", err)
            self._faults[part] = err
        first = next(iter(self._faults.values()), None)
        sentence = None if first is None else f"{self._label}: {first}"
        self._status.set(error=sentence, final=first is not None and is_final(first))
