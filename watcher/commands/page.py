# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm page`: the fleet as a page in this host's browser, for as long as the command runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .shared import host

if TYPE_CHECKING:
    import argparse

    from watcher.page.board import Board
    from watcher.page.feed import Feed
    from watcher.page.server import PageServer

_NOBODY = 65534


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port on 127.0.0.1; default any that is free")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Serve until interrupted; 1 when it can't."""
    from ansible_collections.btmm.fleet.plugins.module_utils.push_client import PushError  # noqa: PLC0415

    from watcher.errors import ConfigError  # noqa: PLC0415
    from watcher.page.board import Board  # noqa: PLC0415
    from watcher.page.server import ADDRESS, PageServer  # noqa: PLC0415

    board = Board()
    try:
        server = PageServer(board, given.port)
    except (OSError, OverflowError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        print(f"{host()}: {ADDRESS} port {given.port} can't be used ({reason}): name another --port", file=sys.stderr)
        return 1
    root = os.geteuid() == 0
    try:
        feeds = [_feed(zone, board, root=root) for zone in zones]
    except (ConfigError, PushError) as err:
        print(f"{host()}: {err}", file=sys.stderr)
        return 1
    if root:
        _drop_root()
    else:
        print(
            f"{host()}: changes are asked for every few seconds: to be told of them at once takes the host's key,"
            " which only root can read ('sudo btmm page' gives root up once it has read it)",
            file=sys.stderr,
        )
    print(server.url, flush=True)
    _serve(server, feeds)
    return 0


def _feed(zone: str, board: Board, *, root: bool) -> Feed:
    from watcher import config, places  # noqa: PLC0415
    from watcher.page.feed import Feed  # noqa: PLC0415

    return Feed(zone, board, config.load(places.of_zone(zone).config) if root else None)


def _drop_root() -> None:
    """Become who called sudo, or nobody. The kernel keeps the memory of such a process from its new user (prctl(2))."""
    user, group = (int(os.environ.get(name, "0")) or _NOBODY for name in ("SUDO_UID", "SUDO_GID"))
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def _serve(server: PageServer, feeds: list[Feed]) -> None:
    import asyncio  # noqa: PLC0415
    import contextlib  # noqa: PLC0415
    import threading  # noqa: PLC0415

    async def async_all() -> None:
        await asyncio.gather(*(feed.async_run() for feed in feeds))

    threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(async_all())
