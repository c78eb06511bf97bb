# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.btmm.fleet.plugins.filter.local_names import local_names

ZONE = "bob.members.example"


def test_the_names_of_a_zone() -> None:
    # Hosts keep what these names made: none of them may change. Link and stub are of `printf ZONE | sha256sum`.
    assert local_names(ZONE) == {
        "zone": "bob.members.example",
        "link": "btmm-1b796c6d",
        "stub": "127.99.75.19",
        "guard": "btmm_guard_bob.members.example",
        "connection": "btmm-in-bob_members_example",
    }


@pytest.mark.parametrize("same", ["Bob.Members.EXAMPLE", "bob.members.example."])
def test_one_zone_has_one_set_of_names(same: str) -> None:
    assert local_names(same) == local_names(ZONE)


def test_zones_do_not_meet_on_a_host() -> None:
    # The hyphen and the dot are the two signs that a name could lose.
    zones = [
        "a-b.example",
        "a.b.example",
        "a-b-example.net",
        *(f"owner{number}.members.example" for number in range(50)),
    ]
    names = [local_names(zone) for zone in zones]
    for what in names[0]:
        assert len({each[what] for each in names}) == len(zones), what
    for each in names:
        assert len(each["link"]) <= 15
        assert IPv4Address(each["stub"]) in IPv4Network("127.64.0.0/10")
        assert "." not in each["connection"]


def test_what_is_no_zone_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match=r"zone 'home' is not a domain.*btmm_zone"):
        local_names("home")


def test_a_zone_that_no_unit_could_be_named_for_is_told() -> None:
    label = 57 * "a"
    fits = f"{label}.{label}.{label}.{label[1:]}"
    assert len(f"btmm-credentials@{local_names(fits)['zone']}.service") == 255
    with pytest.raises(AnsibleFilterError, match="more than 230 octets"):
        local_names(f"a{fits}")
