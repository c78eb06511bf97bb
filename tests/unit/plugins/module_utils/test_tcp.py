# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends of connections with the asyncio of Debian 12, whose TLS transport falls apart when it is closed twice."""

from __future__ import annotations

from typing import Any

from ansible_collections.btmm.fleet.plugins.module_utils.tcp import abort, close


class Transport:
    """As `asyncio.sslproto._SSLProtocolTransport` of Python 3.11.2; `ended` is set when the other end has closed."""

    def __init__(self, *, ended: bool = False) -> None:
        self.aborted = False
        self._closed = ended
        self._protocol: Transport | None = self

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if self._closed:
            self._protocol = None
        self._closed = True

    def abort(self) -> None:
        self._closed = True
        self._protocol._abort()  # type: ignore[union-attr]

    def _abort(self) -> None:
        self.aborted = True


class Writer:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.is_closing, self.close = transport.is_closing, transport.close


def test_any_order_of_ends_ends_it() -> None:
    for ended in (False, True):
        for orders in ((close, close, abort), (abort, close, abort), (close, abort, close)):
            transport = Transport(ended=ended)
            writer: Any = Writer(transport)
            for order in orders:
                order(writer)
            assert transport.aborted


def test_what_has_fallen_apart_is_closed() -> None:
    transport = Transport(ended=True)
    transport.close()
    writer: Any = Writer(transport)
    abort(writer)
