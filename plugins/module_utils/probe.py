# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do, found out without changing it. Standard library only; an old Python must be able to say so."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# An ESP state as charon makes it on UDP 4500: AES-GCM, IPv6 inside IPv4, RFC 3948 encapsulation.
ESP_STATE = (
    "ip", "xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "1", "mode", "tunnel",
    "flag", "af-unspec", "aead", "rfc4106(gcm(aes))", "0x" + "00" * 20, "128", "encap", "espinudp", "4500", "4500",
    "192.0.2.3",
)  # fmt: skip
# TUNSETIFF with IFF_TUN | IFF_NO_PI; the interface goes with the descriptor.
TUN_PROGRAM = (
    "import fcntl, os, struct; "
    "fcntl.ioctl(os.open('/dev/net/tun', os.O_RDWR), 0x400454CA, struct.pack('16sH22x', b'btmmprobe', 0x1001))"
)


def esp_fault() -> str:
    """Return why the kernel cannot do ESP in UDP, '' when it can.

    Tried in a network namespace of its own, so that no state of the host is touched; the modules it needs may load.
    """
    return _fault(["unshare", "-n", *ESP_STATE])


def tun_fault() -> str:
    """Return why no TUN interface can be made, '' when one can; tried in a network namespace of its own."""
    return _fault(["unshare", "-n", sys.executable, "-c", TUN_PROGRAM])


def way_to(address: str) -> dict[str, str] | None:
    """Return ``address``, ``interface`` and ``gateway`` ('' on the same link) of the way to an IPv4 address, or None.

    The kernel tells the way it would take; nothing is sent.
    """
    try:
        routes: list[dict[str, Any]] = json.loads(_output(["ip", "-j", "-4", "route", "get", address]) or "[]")
    except ValueError:
        return None
    for route in routes:
        if route.get("prefsrc") and route.get("dev") not in (None, "lo"):
            return {"address": route["prefsrc"], "interface": route["dev"], "gateway": route.get("gateway", "")}
    return None


def address_fault(uplink: dict[str, str] | None, towards: str) -> str:
    """Return why the host has no IPv4 address to map or publish, '' when it has one."""
    if uplink is None:
        return f"it has no IPv4 address with a route to {towards}; connect it, or mend DHCP"
    if ipaddress.ip_address(uplink["address"]).is_link_local:
        return f"DHCP gave it no free address ({uplink['address']} is self-assigned); make room in the pool"
    return ""


def version(command: list[str], pattern: str) -> str:
    """Return the first group of ``pattern`` in what ``command`` prints, '' when either is missing."""
    done = _run(command)
    # swanctl prints its version among its usage, on the error output, while charon is stopped.
    match = re.search(pattern, done.stdout + done.stderr) if done else None
    return match.group(1) if match else ""


def distribution() -> dict[str, str]:
    """Return ``id`` and ``codename`` of os-release(5), '' where it does not say."""
    values = {}
    for place in ("/etc/os-release", "/usr/lib/os-release"):
        if Path(place).exists():
            for line in Path(place).read_text(encoding="utf-8", errors="replace").splitlines():
                key, _, value = line.partition("=")
                values[key.strip()] = value.strip().strip("\"'")
            break
    return {"id": values.get("ID", ""), "codename": values.get("VERSION_CODENAME", "")}


def resolver() -> dict[str, Any]:
    """Return how names are resolved.

    ``resolved``: systemd-resolved runs; ``stub``: /etc/resolv.conf is its stub file; ``nameservers``: those it lists.
    """
    place = Path("/etc/resolv.conf")
    try:
        lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    return {
        "resolved": _output(["systemctl", "is-active", "systemd-resolved.service"]).strip() == "active",
        "stub": place.is_symlink() and place.resolve() == Path("/run/systemd/resolve/stub-resolv.conf"),
        "nameservers": [pair[1] for pair in words if len(pair) > 1 and pair[0] == "nameserver"],
    }


def missing_tools(names: list[str]) -> list[str]:
    """Return those of ``names`` that are not on the PATH of root."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [name for name in names if not shutil.which(name, path=path)]


def _fault(command: list[str]) -> str:
    done = _run(command)
    if done is None:
        return f"'{command[0]}' is missing or hangs"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1][:160]


def _output(command: list[str]) -> str:
    done = _run(command)
    return done.stdout if done else ""


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, text=True, errors="replace", check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
