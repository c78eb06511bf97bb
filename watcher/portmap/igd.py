# SPDX-License-Identifier: GPL-3.0-or-later
"""The child that speaks UPnP IGD with Debian's miniupnpc: a C library that blocks, and memory for seconds of use.

Run as `python3 -m watcher.portmap.igd OWN GATEWAY`. It writes one JSON object a line: first the gateway's outer
address, then an answer to each line read from standard input. It imports nothing of the daemon.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any
from urllib.parse import urlsplit

_INNER_PORT = 4500
_DISCOVER_MS = (400, 2000)  # most answer at once; the second is for those that take their time (UDA 1.0 section 1.2.3)
_TRIES = 20  # ports after a conflict; Apple's client took 100


class IgdError(Exception):
    """What the gateway said."""


def main(own: str, gateway: str) -> None:
    """Serve one parent until it closes our standard input."""
    try:
        import miniupnpc  # type: ignore[import-not-found]  # noqa: PLC0415 - the host's own, and it may be missing
    except ImportError:
        return _say(missing=True)
    try:
        igd = miniupnpc.UPnP(multicastif=own)
        _find(igd, gateway)
        _say(outer=igd.externalipaddress())
    except Exception as err:  # noqa: BLE001 - the library has no other
        return _say(error=str(err))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "map" in request:
                port, lifetime = map_port(igd, own, request["map"], request["lifetime"])
                _say(port=port, lifetime=lifetime)
            else:
                igd.deleteportmapping(request["unmap"], "UDP")
                _say(deleted=True)
        except Exception as err:  # noqa: BLE001 - see above
            _say(error=str(err))
    return None


def map_port(igd: Any, own: str, suggested: int, lifetime: int) -> tuple[int, int | None]:  # noqa: ANN401 - C
    """Map UDP 4500 of `own`; return the outer port, and seconds or None for ever.

    Raises:
        IgdError: the gateway refuses.
    """
    lease = lifetime
    port = suggested
    for _ in range(_TRIES):
        try:
            igd.addportmapping(port, "UDP", own, _INNER_PORT, "btmm", "", lease)
        except Exception as err:  # the text is all that there is
            if "OnlyPermanentLeasesSupported" in str(err) and lease:  # error 725
                lease = 0
            elif "ConflictInMappingEntry" in str(err):  # error 718
                port = port % 0xFFFF + 1 if port >= 1024 else 1024
            else:
                raise IgdError(str(err)) from err
        else:
            return port, _granted(igd, port, lease)
    raise IgdError(f"no port from {suggested} on is free")


def _granted(igd: Any, port: int, lease: int) -> int | None:  # noqa: ANN401 - C
    """What the gateway made of the lease: IGD 2 turns "for ever" into a week."""
    entry = igd.getspecificportmapping(port, "UDP")
    left = entry[4] if entry else 0
    return left or lease or None


def _find(igd: Any, gateway: str) -> None:  # noqa: ANN401 - C
    for delay_ms in _DISCOVER_MS:
        igd.discoverdelay = delay_ms
        with contextlib.suppress(Exception):  # it raises "Success" when nothing answers
            if igd.discover():
                break
    else:
        raise IgdError("nothing answers")
    control = igd.selectigd()
    host = urlsplit(control).hostname
    if host != gateway:
        # A mapping anywhere else than on the way out would lead nowhere.
        raise IgdError(f"{host} offers it, which is not the gateway")


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
