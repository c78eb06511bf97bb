# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host offers by its inventory variables: the services it lists, and those that the role `services` sets up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName, service_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# As in the role's defaults; the zone host grants names for hosts whose plays these defaults are not in.
SSH_PORT = 22
WEB_PORT = 80
SHARE_PORT = 445
SCREEN_PORT = 5900


def offered(value_of: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Return the services as the inventory lists them, then those that are set up and not listed.

    Args:
        value_of: gives an inventory variable of the host, None for one that is not set.

    A service that is listed with the port at which it is set up is there once, with the list's TXT. With another
    port it is there twice, which whoever reads the result refuses.
    """
    listed = list(value_of("btmm_services") or ())
    known = {(_type(entry), str(entry.get("port"))) for entry in listed if isinstance(entry, Mapping)}
    return listed + [entry for entry in _set_up(value_of) if (entry["type"], str(entry["port"])) not in known]


def _set_up(value_of: Callable[[str], Any]) -> Iterator[dict[str, Any]]:
    """Yield what the role's options switch on."""
    if boolean(value_of("services_ssh") or False):
        yield {"type": "_ssh._tcp", "port": value_of("services_ssh_port") or SSH_PORT}
    if boolean(value_of("services_web") or False):
        yield {"type": "_http._tcp", "port": value_of("services_web_port") or WEB_PORT}
    if value_of("services_shares"):
        yield {"type": "_smb._tcp", "port": value_of("services_share_port") or SHARE_PORT}
    if screen := value_of("services_screen"):
        yield {"type": "_rfb._tcp", "port": screen.get("port") or SCREEN_PORT}


def _type(entry: Mapping[str, Any]) -> str:
    """Return a listed type in full; one that is not valid is left to whoever checks the list."""
    try:
        return service_type(str(entry.get("type")))
    except InvalidName:
        return ""
