# SPDX-License-Identifier: GPL-3.0-or-later
"""What a capture holds, told by tcpdump's own filters: a scenario asserts packets, not only results."""

from __future__ import annotations

import subprocess
from pathlib import Path

# A UDP datagram's payload (RFC 3948, sections 2.2 and 2.3): four zero octets mark IKE, one octet 0xff is a
# keepalive, all else is ESP.
IKE = "(udp[8:4] == 0)"
KEEPALIVE = "(udp[4:2] == 9 and udp[8] == 0xff)"


def count(capture: Path, expression: str) -> int:
    """Return how many packets of the capture match a pcap-filter(7) expression."""
    return len(select(capture, expression))


def select(capture: Path, expression: str, *options: str) -> list[str]:
    """Return the packets that match, a line each; with tcpdump's option "-x", followed by lines of their octets."""
    command = ["tcpdump", "-n", "-t", *options, "-r", str(capture), expression]
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
