# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of message that we make, read by Wireshark's dissector, which knows nothing of our codec.

It reads header and TLVs; of the records in a PUSH it (4.0) shows the octets only.
"""

from __future__ import annotations

from pathlib import Path

import dns.name
import dns.rdata
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import dso, push
from ansible_collections.btmm.fleet.plugins.module_utils.dso import Keepalive, Rcode, Tlv
from ansible_collections.btmm.fleet.plugins.module_utils.push import ANY, REMOVE, REMOVE_ALL, Change, Question

from tests.dissect import dissected

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


@pytest.mark.parametrize("kind", MESSAGES)
def test_wireshark_finds_nothing_wrong(tmp_path: Path, kind: str) -> None:
    wire, words = MESSAGES[kind]
    text = dissected(tmp_path, wire)
    assert "DSO" in text or "Stateful" in text
    assert "Malformed" not in text
    assert not [word for word in words if word not in text], text[text.find("Domain Name System") :]


def test_wireshark_would_tell_what_is_wrong(tmp_path: Path) -> None:
    wire = bytearray(MESSAGES["push"][0])
    wire[15] += 40  # the length of the TLV
    assert "Malformed" in dissected(tmp_path, bytes(wire[:-10]))
