# SPDX-License-Identifier: GPL-3.0-or-later
"""What a resolv.conf(5) says, and how systemd-resolved is told the same (resolved.conf(5))."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Nameservers:
    """The name servers that a host was configured with, and its search domains."""

    servers: tuple[str, ...]
    search: tuple[str, ...]

    def drop_in(self) -> str:
        """Return a drop-in for resolved.conf.d that asks the same servers."""
        lines = ["# What /etc/resolv.conf said before btmm.fleet handed it to systemd-resolved.", "[Resolve]"]
        lines.append(f"DNS={' '.join(self.servers)}")
        if self.search:
            lines.append(f"Domains={' '.join(self.search)}")
        return "\n".join(lines) + "\n"


def parse(text: str) -> Nameservers:
    """Read a resolv.conf(5); what is unknown or malformed is skipped, as the C library does.

    Servers on loopback are left out: they are stubs of this host, and systemd-resolved's own would go in a circle.
    """
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1 and _usable(words[1]):
            servers.append(words[1])
        elif words[0] in {"search", "domain"}:
            # The last one counts (resolv.conf(5)); "." searches nothing.
            search = [word for word in words[1:] if word != "."]
    return Nameservers(tuple(dict.fromkeys(servers)), tuple(search))


def _usable(text: str) -> bool:
    try:
        return not ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False
