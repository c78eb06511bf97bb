# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of LLQ message that we make, read by Wireshark's dissector, which knows nothing of our codec."""

from __future__ import annotations

from pathlib import Path

import dns.tsig
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import llq, tsig
from ansible_collections.btmm.fleet.plugins.module_utils.llq import Error, Llq, Opcode

from tests.dissect import dissected
from tests.unit.plugins.module_utils.test_llq import CHANGES, ID, SSH

KEY = dns.tsig.Key("imac.bob.members.example.", "AAECAwQFBgcICQoLDA0ODw==", "hmac-sha256")
EVENT = llq.addressed(llq.encode_events(SSH, CHANGES, 1232)[0], 7, ID)
MESSAGES = {
    "setup": (llq.encode(1, [SSH], [Llq(Opcode.SETUP, lease=7200)])[0], ["Message is a query"]),
    "challenge": (llq.encode(1, [SSH], [Llq(Opcode.SETUP, ID, 7200)], response=True)[0], ["a1b2c3d4e5f60718"]),
    "response": (llq.encode(2, [SSH], [Llq(Opcode.SETUP, ID, 7200)])[0], ["Message is a query", "a1b2c3d4e5f60718"]),
    "signed setup": (tsig.sign(llq.encode(1, [SSH], [Llq(Opcode.SETUP)])[0], KEY)[0], ["MAC Size: 32"]),
    "answers": (llq.encode(1, [SSH], [Llq(Opcode.SETUP, ID, 7200)], CHANGES, response=True)[0], ["Answer RRs: 2"]),
    "some of the answers": (
        llq.encode(1, [SSH], [Llq(Opcode.SETUP, ID, 7200)], CHANGES, room=100, response=True)[0],
        ["Answer RRs: 1", "Message is truncated"],
    ),
    "refresh": (llq.encode(3, [SSH], [Llq(Opcode.REFRESH, ID, 3600)])[0], ["Message is a query", "00000e10"]),
    "cancel": (llq.encode(3, [SSH], [Llq(Opcode.REFRESH, ID)])[0], ["a1b2c3d4e5f6071800000000"]),
    "prolonged": (llq.encode(3, [SSH], [Llq(Opcode.REFRESH, ID, 3600)], response=True)[0], ["00000e10"]),
    "several": (llq.encode(4, [SSH, SSH], 2 * [Llq(Opcode.SETUP, lease=900)])[0], ["Questions: 2"]),
    "refused": (
        llq.encode(1, [SSH], [llq.refused(Llq(Opcode.REFRESH, 5), Error.NO_SUCH_LLQ)], response=True, rcode=5)[0],
        ["Refused"],
    ),
    "event": (EVENT, ["Domain Name: a._ssh._tcp.bob.members.example", "4294967295", "Answer RRs: 2"]),
    "signed event": (tsig.sign(EVENT, KEY)[0], ["Name: imac.bob.members.example", "Algorithm Name: hmac-sha256"]),
    "acknowledgment": (llq.acknowledgment(llq.parse(EVENT), Llq(Opcode.EVENT, ID)), ["Questions: 0"]),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_wireshark_finds_nothing_wrong(tmp_path: Path, kind: str) -> None:
    wire, words = MESSAGES[kind]
    text = dissected(tmp_path, wire)
    assert "Malformed" not in text
    found = ["Option: LLQ - Long-lived query", *words]
    assert not [word for word in found if word not in text], text[text.find("Domain Name System") :]
