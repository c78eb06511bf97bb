# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host cannot write with its own key, told by the server itself; and the one thing that BIND cannot refuse."""

from __future__ import annotations

import pytest

from tests.e2e import proof
from tests.e2e.fleet import CommandFailed, Fleet
from tests.e2e.proof import FOLDER, ZONE

INSTANCE = f"Bob's\\032iMac._ssh._tcp.{ZONE}."
TARGET = "AutoTunnel-00-00-00-00-00-00-00-01"
FOREIGN = {
    "another host's address": f"add imac.{ZONE}. 120 AAAA fd00::1",
    "another host's address, withdrawn": f"delete imac.{ZONE}. AAAA",
    "all of another host's name": f"delete imac.{ZONE}.",
    "another host's tunnel": f"add _autotunnel._udp.imac.{ZONE}. 120 SRV 10 0 4500 mini.{ZONE}.",
    "where a tunnel ends": f"add {TARGET}.{ZONE}. 120 A 203.0.113.20",
    "another host's service": f"add {INSTANCE} 120 SRV 0 0 22 mini.{ZONE}.",
    "another host's service text": f'add {INSTANCE} 4500 TXT "mine"',
    "another host's service, withdrawn": f"delete {INSTANCE}",
    "another host's model": f'add Bob\'s\\032iMac._device-info._tcp.{ZONE}. 4500 TXT "model=Macmini3,1"',
    "a name below its own": f"add below.mini.{ZONE}. 120 AAAA fd00::1",
    "a type at its own name": f"add mini.{ZONE}. 120 A 203.0.113.20",
    "an alias of its own name": f"add mini.{ZONE}. 120 CNAME imac.{ZONE}.",
    "a name of nobody": f"add nobody.{ZONE}. 120 AAAA fd00::1",
    "every name": f"add *.{ZONE}. 120 AAAA fd00::1",
    "a type of service that it does not offer": f"add _ftp._tcp.{ZONE}. 4500 PTR Bob's\\032mini._ftp._tcp.{ZONE}.",
    "a domain to browse": f"add b._dns-sd._udp.{ZONE}. 4500 PTR evil.example.",
    "a name server": f"add {ZONE}. 120 NS mini.{ZONE}.",
    "a delegation": f"add imac.{ZONE}. 120 NS mini.{ZONE}.",
    "the zone's start": f"add {ZONE}. 120 SOA mini.{ZONE}. root.{ZONE}. 4000000000 1 1 1 1",
    "where updates go": f"add _dns-update-tls._tcp.{ZONE}. 120 SRV 0 0 853 mini.{ZONE}.",
    "where questions go": f"delete _dns-query-tls._tcp.{ZONE}.",
    "the server's address": f"add zone.{ZONE}. 120 A 203.0.113.20",
    "a signing key": f"add {ZONE}. 120 DNSKEY 257 3 13 "
    "z13IsBXzPMncBjgMNIlAZkwixCAbzziKlu8Q6xENKcIKKebiTpDRPJFKwoCnpsGAxpeswfBslx43eIQSPaizOQ==",
}


def write(fleet: Fleet, line: str) -> str:
    """Send one update with mini's own key; returns what the server said, nothing when it was done."""
    sent = f"server 203.0.113.10\nupdate {line}\nsend\n"
    script = f"nsupdate -v -y \"hmac-sha256:$1:$(cat /etc/btmm/*/tsig.secret)\" <<'END' 2>&1\n{sent}END"
    key = fleet.shell(
        "mini",
        f'python3 -c \'import json; print(json.load(open("{FOLDER}/watcher.json"))["tsig"]["name"])\'',
    )
    try:
        return fleet.on("mini", "bash", "-c", script, "write", key.strip())
    except CommandFailed as failure:
        return str(failure)


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_not_its_own_is_refused(fleet: Fleet, what: str) -> None:
    before = proof.zone_records(fleet)
    assert "update failed: REFUSED" in write(fleet, FOREIGN[what])
    assert proof.zone_records(fleet) == before


def test_a_foreign_address_in_ip6_arpa_is_refused(fleet: Fleet) -> None:
    address = proof.ula(fleet, "imac")
    reverse = fleet.on(
        "mini", "python3", "-c", f"import ipaddress; print(ipaddress.ip_address('{address}').reverse_pointer)"
    )
    assert "update failed: REFUSED" in write(fleet, f"add {reverse.strip()}. 120 PTR mini.{ZONE}.")


def test_an_update_is_done_whole_or_not_at_all(fleet: Fleet) -> None:
    own, foreign = f"add mini.{ZONE}. 120 AAAA fd00::2", FOREIGN["another host's address"]
    before = proof.zone_records(fleet)
    assert "REFUSED" in write(fleet, f"{own}\nupdate {foreign}")
    assert proof.zone_records(fleet) == before


def test_only_pointers_in_a_shared_set_are_out_of_reach_of_the_server(fleet: Fleet) -> None:
    """BIND judges names and types. What such a pointer leads to is judged by who follows it, and by the sweeper."""
    pointer = f"_ssh._tcp.{ZONE}. PTR Nobody._ssh._tcp.{ZONE}."
    assert write(fleet, f"add {pointer.replace(' PTR', ' 4500 PTR')}") == ""
    assert write(fleet, f"delete {pointer}") == ""
