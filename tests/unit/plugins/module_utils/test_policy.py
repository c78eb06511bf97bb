# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

from ansible_collections.btmm.fleet.plugins.module_utils import names, policy, realm, records

HOST = records.host_from_config(
    {
        "zone": "bob.members.example",
        "label": "imac",
        "title": 'Bob\'s "big" iMac',
        "ula": "fd12:3456:789a:0:1:2:3:4",
        "model": "iMac4,1",
        "services": [{"type": "ssh", "port": 22}],
    }
)
RECORDS = records.host_records(HOST, policy.EVERYWHERE)


def test_a_host_may_write_its_own_names_and_types_and_nothing_else() -> None:
    key = names.tsig_key_name("imac", HOST.zone)
    grant = 'grant "imac.bob.members.example." name'
    title = r"Bob's\032\"big\"\032iMac"
    assert policy.grants(key, RECORDS) == (
        f'{grant} "AutoTunnel-00-01-00-02-00-03-00-04.bob.members.example." A AAAA;',
        f'{grant} "AutoTunnel-00-01-00-02-00-03-00-04-6.bob.members.example." AAAA;',
        f'{grant} "_autotunnel._udp.imac.bob.members.example." SRV;',
        f'{grant} "AutoTunnel-00-01-00-02-00-03-00-04-lan.bob.members.example." A;',
        f'{grant} "_autotunnel-lan._udp.imac.bob.members.example." SRV;',
        f'{grant} "imac.bob.members.example." AAAA;',
        f'{grant} "{title}._ssh._tcp.bob.members.example." SRV TXT;',
        f'{grant} "_ssh._tcp.bob.members.example." PTR;',
        f'{grant} "_services._dns-sd._udp.bob.members.example." PTR;',
        f'{grant} "{title}._device-info._tcp.bob.members.example." TXT;',
    )


def test_grants_cover_every_record_a_host_will_publish() -> None:
    granted = {(grant.name, kind) for grant in policy.host_grants(HOST) for kind in grant.types}
    trace = "_lease.imac.bob.members.example. 120 IN TXT refreshed=x"
    proved = replace(HOST, realm=realm.Realm("LKDC:SHA1.0011", b"certificate"))
    own = records.host_records(proved, policy.EVERYWHERE)
    published = (*own, records.Record.from_text(trace), records.reverse_record(HOST))
    assert granted == {(record.name, record.to_text().split()[3]) for record in published}


def test_only_shared_names_are_granted_as_shared() -> None:
    shared = {grant.name.labels[0] for grant in policy.host_grants(HOST) if grant.shared}
    assert shared == {b"_ssh", b"_services"}
