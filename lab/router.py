# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a host a router of its kind."""

import string
import uuid

from lab.archive import File
from lab.paths import LAB
from lab.topology import Host

WANTS = "etc/systemd/system/multi-user.target.wants"
SYSTEM = "/lib/systemd/system"
_UNIT = "lab-miniupnpd.service"
# cone: Linux keeps a port that is free, for every destination alike.
_NAT_FLAGS = {"random": " random", "cone": ""}


def router_files(host: Host, fleet: str) -> dict[str, File]:
    """Files of a router by path below /."""
    files = {"etc/sysctl.d/lab-router.conf": File(_text("forward.conf"))}
    if host.router is None:
        return files
    files["etc/nftables.conf"] = File(_fill("nat.nft", flags=_NAT_FLAGS[host.router.nat]), 0o755)
    files["etc/systemd/system/sysinit.target.wants/nftables.service"] = File(link=f"{SYSTEM}/nftables.service")
    if host.router.mapping is False:
        return files
    lan = next(address.network for address in host.interfaces[1].addresses if address.version == 4)
    allow = "" if host.router.mapping == "refused" else f"allow 1024-65535 {lan} 1024-65535\n"
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.{fleet}")
    return files | {
        "etc/miniupnpd/lab.conf": File(_fill("miniupnpd.conf", allow=allow, uuid=str(identity))),
        f"etc/systemd/system/{_UNIT}": File(_text(_UNIT)),
        f"{WANTS}/{_UNIT}": File(link=f"/etc/systemd/system/{_UNIT}"),
    }


def _text(name: str) -> str:
    return (LAB / "router" / name).read_text()


def _fill(name: str, **values: str) -> str:
    return string.Template(_text(name)).substitute(values)
