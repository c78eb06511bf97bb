# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone's daemon as a DNS server on loopback, for the subcommands that ask it."""

from __future__ import annotations

from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.local_names import stub_address
from ansible_collections.btmm.fleet.plugins.module_utils.names import parse_zone
from ansible_collections.btmm.fleet.plugins.module_utils.settings import BadSetting, Settings, is_a, port, read_json

from watcher import places

ANSWER_S = 10.0  # a tunnel that has to be built takes up to 4 s


def stub(zone: str) -> Server:
    """Return where the zone's names are answered on this host; everybody may know, so no secret is read."""
    path = places.of_zone(zone).config / places.MAIN_FILE
    try:
        own = Settings(path, read_json(path, _FIX), _FIX).below("stub")
        return Server(own.get("address", is_a(str)), own.get("port", port), timeout_s=ANSWER_S)
    except BadSetting:
        return Server(str(stub_address(parse_zone(zone))), timeout_s=ANSWER_S)


def ask(zone: str) -> Exchange:
    """Return a connection to the zone's stub.

    Raises:
        UpdateError: the daemon does not run.
    """
    return Exchange(stub(zone), None)


_FIX = "run the watcher role for this host again"
