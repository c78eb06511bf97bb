# SPDX-License-Identifier: GPL-3.0-or-later
"""What Wireshark's dissector says of one DNS message."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest


def dissected(directory: Path, wire: bytes) -> str:
    """Return what `tshark -V` prints of a message that comes from port 53 by TCP; skip the test where there is none."""
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("there is no tshark here: apt-get install tshark")
    path = directory / "pcap"
    _capture(path, wire)
    options = ["-o", "tcp.check_checksum:FALSE", "-o", "ip.check_checksum:FALSE", "-V", "-r", str(path)]
    return subprocess.run([program, *options], capture_output=True, text=True, check=True).stdout


def _capture(path: Path, wire: bytes) -> None:
    """Write a capture of one TCP segment from port 53, which the dissector takes for DNS; checksums are not set."""
    payload = len(wire).to_bytes(2, "big") + wire
    tcp = struct.pack("!HHIIBBHHH", 53, 40_000, 1, 1, 5 << 4, 0x18, 0xFFFF, 0, 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + tcp
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)  # 101: the packets begin with IP
    path.write_bytes(head + struct.pack("<IIII", 0, 0, len(ip), len(ip)) + ip)
