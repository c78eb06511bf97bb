# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of message that we make, read by Wireshark's dissector, which knows nothing of our codec.

It reads header and TLVs; of the records in a PUSH it (4.0) shows the octets only.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import dns.name
import dns.rdata
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Rcode, Tlv
from ansible_collections.btmm.fleet.plugins.module_utils.push import ANY, REMOVE, REMOVE_ALL, Change, Question

ZONE = dns.name.from_text("bob.members.example")
SSH = dns.name.from_text("_ssh._tcp", ZONE)
IMAC = dns.name.from_text("imac", ZONE)
CHANGES = [
    Change(SSH, 12, 4500, dns.rdata.from_text("IN", "PTR", "Bob._ssh._tcp.bob.members.example.")),
    Change(SSH, 33, 120, dns.rdata.from_text("IN", "SRV", "0 0 22 imac.bob.members.example.")),
    Change(SSH, 16, 0, dns.rdata.from_text("IN", "TXT", '""')),
    Change(IMAC, 28, REMOVE, dns.rdata.from_text("IN", "AAAA", "fd00::1")),
    Change(IMAC, 1, REMOVE_ALL),
    Change(IMAC, ANY, REMOVE_ALL),
    Change(IMAC, ANY, REMOVE_ALL, rdclass=ANY),
]
# Message, and what the dissector has to say of it.
MESSAGES = {
    "keepalive": (dso.encode([dso.keepalive(Keepalive(15_000, 3_600_000))], 1, block=128), ["3600000"]),
    "granted": (dso.encode([dso.keepalive(Keepalive(0, 10_000))], 1, response=True, block=468), ["10000", "Padding"]),
    "retry delay": (dso.encode([dso.retry_delay(60_000)], rcode=Rcode.SERVFAIL), ["DSO TLV: Retry Delay", "60000"]),
    "unknown": (dso.encode([dso.retry_delay(5)], 7, response=True, rcode=Rcode.DSOTYPENI), ["Retry Delay"]),
    "accepted": (dso.encode([], 7, response=True, block=1), ["Message is a response", "DSO TLV: Encryption Padding"]),
    "subscribe": (dso.encode([push.subscribe(Question(SSH, ANY, ANY))], 2), ["DSO TLV: Subscribe", "Length: 35"]),
    "unsubscribe": (dso.encode([push.unsubscribe(2)]), ["DSO TLV: Unsubscribe", "Data: 0002"]),
    "reconfirm": (
        dso.encode([push.reconfirm(IMAC, dns.rdata.from_text("IN", "A", "192.0.2.1"))]),
        ["DSO TLV: Reconfirm"],
    ),
    "push": (push.encode_push(CHANGES)[0], ["DSO TLV: Push", "Length: 149"]),
    "padded push": (
        push.encode_push(CHANGES, 468)[0],
        ["DSO TLV: Push", "Length: 149", "DSO TLV: Encryption Padding", "Length: 299"],
    ),
    "other": (dso.encode([Tlv(0xF800, b"abc")], 9), []),
}


@pytest.fixture(scope="module")
def tshark() -> str:
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("there is no tshark here: apt-get install tshark")
    return program


def capture(path: Path, wire: bytes) -> None:
    """Write a capture of one TCP segment from port 53, which the dissector takes for DNS; checksums are not set."""
    payload = len(wire).to_bytes(2, "big") + wire
    tcp = struct.pack("!HHIIBBHHH", 53, 40_000, 1, 1, 5 << 4, 0x18, 0xFFFF, 0, 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + tcp
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)  # 101: the packets begin with IP
    path.write_bytes(head + struct.pack("<IIII", 0, 0, len(ip), len(ip)) + ip)


def dissected(tshark: str, path: Path) -> str:
    options = ["-o", "tcp.check_checksum:FALSE", "-o", "ip.check_checksum:FALSE", "-V", "-r", str(path)]
    return subprocess.run([tshark, *options], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("kind", MESSAGES)
def test_wireshark_finds_nothing_wrong(tshark: str, tmp_path: Path, kind: str) -> None:
    wire, words = MESSAGES[kind]
    capture(tmp_path / "pcap", wire)
    text = dissected(tshark, tmp_path / "pcap")
    assert "DSO" in text or "Stateful" in text
    assert "Malformed" not in text
    assert not [word for word in words if word not in text], text[text.find("Domain Name System") :]


def test_wireshark_would_tell_what_is_wrong(tshark: str, tmp_path: Path) -> None:
    wire = bytearray(MESSAGES["push"][0])
    wire[15] += 40  # the length of the TLV
    capture(tmp_path / "pcap", bytes(wire[:-10]))
    assert "Malformed" in dissected(tshark, tmp_path / "pcap")
