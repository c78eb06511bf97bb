# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import dns.name
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bind, names, policy, records
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.primary import SECRET

ZONE = names.parse_zone("bob.members.example")
REVERSE = dns.name.from_text("a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa.")


def entry(label: str, number: int, **config: object) -> bind.Entry:
    host = records.host_from_config(
        {"zone": "bob.members.example", "label": label, "ula": f"fd12:3456:789a::{number}", **config}
    )
    return bind.Entry(SECRET, policy.host_grants(host))


IMAC = entry("imac", 1, services=[{"type": "ssh", "port": 22}])
SSH = dns.name.from_text("imac._ssh._tcp", ZONE)


def test_an_entry_survives_being_stored() -> None:
    _, refused = bind.enrol({}, {"imac": IMAC})
    assert not refused
    stored = bind.enrol({"imac": IMAC}, {"imac": entry("imac", 1)})[0]["imac"]
    assert stored.former
    assert bind.Entry.from_json(stored.to_json()) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"secret": 1, "grants": [1], "former": []}',
        '{"secret": "x", "grants": [{"name": "a..b", "types": [], "shared": 0}], "former": []}',
    ],
)
def test_a_damaged_entry_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        bind.Entry.from_json(text)


def test_the_second_claim_to_a_name_is_refused_and_harms_nobody() -> None:
    rival = entry("macbook", 2, title="imac", services=[{"type": "ssh", "port": 22}])
    other = entry("mini", 3, services=[{"type": "ssh", "port": 22}])
    entries, refused = bind.enrol({"imac": IMAC}, {"macbook": rival, "mini": other})
    assert set(entries) == {"imac", "mini"}
    assert entries["imac"] == IMAC
    assert refused.keys() == {"macbook"}
    assert "imac._ssh._tcp.bob.members.example." in refused["macbook"]
    assert "imac's" in refused["macbook"]


def test_two_hosts_of_one_run_cannot_have_one_name_either() -> None:
    rival = entry("macbook", 1)  # the same address: a cloned key
    entries, refused = bind.enrol({}, {"imac": IMAC, "macbook": rival})
    assert set(entries) == {"imac"}
    assert "macbook" in refused


def test_a_host_without_secret_is_refused() -> None:
    entries, refused = bind.enrol({}, {"imac": bind.Entry("", IMAC.grants)})
    assert not entries
    assert "no TSIG secret" in refused["imac"]


def test_a_name_that_was_given_up_stays_writable_until_somebody_claims_it() -> None:
    entries, _ = bind.enrol({"imac": IMAC}, {"imac": entry("imac", 1)})
    assert SSH in {grant.name for grant in entries["imac"].former}
    again, _ = bind.enrol(entries, {"imac": entry("imac", 1)})
    assert again == entries
    claim = entry("macbook", 2, title="imac", services=[{"type": "ssh", "port": 22}])
    entries, refused = bind.enrol(entries, {"macbook": claim})
    assert not refused
    assert SSH not in {grant.name for grant in entries["imac"].former}
    assert names.service_name("ssh", ZONE) in {grant.name for grant in entries["imac"].former}


def test_a_name_that_comes_back_is_not_former_any_more() -> None:
    entries, _ = bind.enrol({"imac": IMAC}, {"imac": entry("imac", 1)})
    entries, _ = bind.enrol(entries, {"imac": IMAC})
    assert entries["imac"] == IMAC


def test_grants_are_split_between_the_two_zones() -> None:
    forward = bind.policy_conf(ZONE, ZONE, {"imac": IMAC})
    reverse = bind.policy_conf(ZONE, REVERSE, {"imac": IMAC})
    assert forward.count("grant") + reverse.count("grant") == len(IMAC.grants) + 2
    address = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa."
    assert reverse == (
        'update-policy {\n  grant "_admin.bob.members.example." zonesub ANY;\n'
        f'  grant "imac.bob.members.example." name "{address}" PTR;\n}};\n'
    )


def test_readers_are_the_owner_and_the_hosts() -> None:
    text = bind.keys_conf(ZONE, {"mini": IMAC, "imac": IMAC})
    assert text.count("secret") == 2
    readers = text.partition(f'acl "{bind.READERS_ACL}"')[2]
    assert [line.strip() for line in readers.splitlines()[1:-1]] == [
        f'key "{label}.bob.members.example.";' for label in ("_admin", "imac", "mini")
    ]


def test_a_key_statement_is_read_back() -> None:
    key = bind.parse_key(bind.key_conf(bind.admin_key_name(ZONE), SECRET))
    assert key.name == bind.admin_key_name(ZONE)
    assert key.algorithm.to_text() == "hmac-sha256."
    assert key.secret == bytes(range(32))
    assert bind.parse_key("key a.b {\n algorithm hmac-sha512;\n secret AAAA;\n};").name == dns.name.from_text("a.b")
    with pytest.raises(ValueError, match="key statement"):
        bind.parse_key("nothing")


def test_a_diff_has_no_secret_but_shows_that_it_changed() -> None:
    one, two = (bind.without_secrets(bind.key_conf(ZONE, secret)) for secret in (SECRET, SECRET[::-1]))
    assert SECRET not in one
    assert one != two


@given(st.text(max_size=100))
def test_any_text_is_an_entry_or_an_error(text: str) -> None:
    for read in (bind.Entry.from_json, bind.parse_key):
        try:
            read(text)
        except ValueError:
            continue


def test_old_and_new_key_are_valid_until_the_old_one_is_retired() -> None:
    renewed = replace(IMAC, secret="bmV3", generation=1)
    both, _ = bind.enrol({"imac": IMAC}, {"imac": renewed})
    keys, policy_text = bind.keys_conf(ZONE, both), bind.policy_conf(ZONE, ZONE, both)
    for name, secret in (("imac.bob.members.example.", SECRET), ("g1.imac.bob.members.example.", "bmV3")):
        assert f'key "{name}" {{ algorithm hmac-sha256; secret "{secret}"; }};' in keys
        assert f'grant "{name}" name "imac.bob.members.example." AAAA' in policy_text
        assert keys.count(f'"{name}"') == 2, "the key, and its right to ask"
    assert bind.Entry.from_json(both["imac"].to_json()) == both["imac"]

    again, _ = bind.enrol(both, {"imac": renewed})
    assert again["imac"].old == ((0, SECRET),), "a run in between keeps both"
    third, _ = bind.enrol(again, {"imac": replace(IMAC, secret="M3Jk", generation=2)})
    assert [generation for generation, _ in third["imac"].old] == [1, 0], "the host may still use the first"
    alone, _ = bind.enrol(both, {"imac": renewed}, retire=True)
    assert SECRET not in bind.keys_conf(ZONE, alone)
    assert '"imac.bob.members.example."' not in bind.keys_conf(ZONE, alone)


def test_another_secret_of_the_same_generation_takes_the_place_of_the_former() -> None:
    entries, _ = bind.enrol({"imac": IMAC}, {"imac": replace(IMAC, secret="bmV3")})
    assert bind.keys_conf(ZONE, entries).count("secret ") == 1


def test_who_has_a_key_and_nothing_to_write_may_transfer() -> None:
    entries, _ = bind.enrol({"imac": IMAC}, {"zone2": bind.Entry("bmV3", ())})
    keys = bind.keys_conf(ZONE, entries)
    assert 'acl "btmm-secondaries" {\n  key "zone2.bob.members.example.";\n};' in keys
    assert "zone2" not in bind.policy_conf(ZONE, ZONE, entries)
    assert 'acl "btmm-secondaries" {\n  none;\n};' in bind.keys_conf(ZONE, {"imac": IMAC})
