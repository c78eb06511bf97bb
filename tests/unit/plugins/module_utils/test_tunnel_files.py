# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever an owner describes is rendered to files that their program takes, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import ipsec_weak, racoon_grammar, racoon_setkey, tunnel_files
from ansible_collections.btmm.fleet.plugins.module_utils.ipsec import InvalidTunnel
from ansible_collections.btmm.fleet.plugins.module_utils.racoon_lexer import RacoonError
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.swanctl_conf import parsed

HOST = {
    "name": "btmm-in",
    "identity": "imac.bob.example",
    "ula": "fd12:3456:789a::1",
    "prefix": "fd12:3456:789a::/48",
    "certificate": "imac.pem",
    "authority": "ca.pem",
}
RACOON = {**HOST, "system": "bsd", "outer": ["192.0.2.1"], "directory": "/etc/racoon/certs", "key": "imac.key"}

# What people write by mistake stands beside what is right, and beside what would break out of a statement.
HOSTILE = st.one_of(st.text(max_size=20), st.sampled_from(['a"; include "/x', "a\n}", "x { y", "::/0", "a,b", "#", ""]))
NAMES = st.one_of(HOSTILE, st.from_regex(r"[a-z]{1,8}\.bob\.example", fullmatch=True))
ULAS = st.one_of(HOSTILE, st.integers(1, 9).map(lambda number: f"fd12:3456:789a::{number}"))
OUTERS = st.one_of(HOSTILE, st.ip_addresses().map(str))
PEERS = st.lists(
    st.fixed_dictionaries(
        {
            "identity": NAMES,
            "ula": ULAS,
            "address": st.none() | OUTERS,
            "port": st.integers(-1, 70000),
            "ike_version": st.sampled_from([1, 2]),
            "start": st.sampled_from(["none", "trap", "start"]),
        }
    ),
    max_size=3,
)
CHANGES = st.fixed_dictionaries(
    {"peers": PEERS},
    optional={
        "name": HOSTILE,
        "identity": NAMES,
        "ula": ULAS,
        "prefix": HOSTILE,
        "certificate": HOSTILE,
        "authority": HOSTILE,
        "port": st.integers(-1, 70000),
    },
)
RACOON_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["linux", "bsd"]),
        "outer": st.lists(OUTERS, max_size=2),
        "directory": HOSTILE.map("/{}".format) | HOSTILE,
        "key": HOSTILE,
    },
)


@pytest.mark.parametrize(
    ("proposal", "weak"),
    [
        ("aes256gcm16-prfsha384-x25519-ke1_mlkem768", []),
        ("aes256-sha256-modp2048", []),
        ("AES128-SHA-MODP1536", ["sha", "modp1536"]),
        ("aes256gcm16-prfsha1-x25519-ke2_modp1024s160", ["prfsha1", "ke2_modp1024s160"]),
        ("null-md5_128-sha1_160-des-prfmd5", ["null", "md5_128", "sha1_160", "des", "prfmd5"]),
    ],
)
def test_what_is_weak(proposal: str, weak: list[str]) -> None:
    assert ipsec_weak.found([proposal, proposal]) == weak


def test_swanctl_conf_as_a_whole() -> None:
    peers = [{"identity": "nas.bob.example", "ula": "fd12:3456:789a::9", "address": "203.0.113.20", "ike_version": 1}]
    called = {"mode": "tunnel", "local_ts": "fd12:3456:789a::1/128", "dpd_action": "clear", "inactivity": "600s"}
    both = {"encap": "yes", "mobike": "yes", "local_port": "4500"}
    local = {"auth": "pubkey", "certs": "imac.pem", "id": "imac.bob.example"}
    remote = {"auth": "pubkey", "cacerts": "ca.pem"}
    assert parsed(tunnel_files.for_strongswan({**HOST, "dpd_delay": 9, "peers": peers}))["connections"] == {
        "btmm-in": {
            **both,
            "version": "2",
            "remote_addrs": "%any",
            "unique": "no",
            "dpd_delay": "9s",
            "proposals": "aes256gcm16-prfsha384-x25519,aes128gcm16-prfsha256-x25519,aes256gcm16-prfsha384-ecp256",
            "local": local,
            "remote": remote,
            "children": {
                "btmm-in": {
                    **called,
                    "remote_ts": "fd12:3456:789a::/48",
                    "esp_proposals": "aes256gcm16-x25519,aes128gcm16-x25519,aes256gcm16-ecp256",
                    "copy_df": "no",
                    "start_action": "none",
                }
            },
        },
        "btmm-in-nas_bob_example": {
            **both,
            "version": "1",
            "remote_addrs": "203.0.113.20",
            "remote_port": "4500",
            "dpd_delay": "30s",
            "proposals": "aes256-sha256-modp2048",
            "local": local,
            "remote": {**remote, "id": "nas.bob.example"},
            "children": {
                "btmm-in-nas_bob_example": {
                    **called,
                    "remote_ts": "fd12:3456:789a::9/128",
                    "esp_proposals": "aes256-sha512-modp2048",
                    "copy_df": "no",
                    "start_action": "trap",
                }
            },
        },
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data_path": "libipsec", "ike_port": 500}, "ESP without UDP there, which needs the kernel's; name its IPv4"),
        ({"data_path": "kernel", "ike_port": 0}, "IKE at UDP 500 there, and from it; set tunnel_ike_port to that"),
        ({"data_path": "kernel", "ike_port": 500}, None),
        ({}, None),
    ],
)
def test_a_peer_with_racoon_over_ipv6(options: dict[str, Any], said: str | None) -> None:
    nas = {"identity": "nas.bob.example", "ula": "fd12:3456:789a::9", "address": "2001:db8::9"}
    given = {**HOST, **options, "start": "start", "peers": [{**nas, "ike_version": 1}]}
    if said:
        with pytest.raises(InvalidTunnel, match=f"can't reach nas.bob.example at 2001:db8::9: racoon takes {said}"):
            tunnel_files.for_strongswan(given)
    else:
        section = parsed(tunnel_files.for_strongswan(given))["connections"]["btmm-in-nas_bob_example"]
        assert (section["local_port"], section["remote_port"], section["encap"]) == ("500", "500", "no")
        assert section["children"]["btmm-in-nas_bob_example"]["start_action"] == "start"
    assert tunnel_files.for_strongswan({**given, "peers": [nas]})


def test_ml_kem_for_callers_and_called() -> None:
    peers = [
        {"identity": "nas.bob.example", "ula": "fd12:3456:789a::9", "address": "203.0.113.20"},
        {"identity": "old.bob.example", "ula": "fd12:3456:789a::8", "address": "203.0.113.21", "ike_version": 1},
    ]
    text = tunnel_files.for_strongswan({**HOST, "peers": peers, "algorithms": ["AES_CBC", "ML_KEM_768"]})
    found = {name: each["proposals"].split(",") for name, each in parsed(text)["connections"].items()}
    first = "aes256gcm16-prfsha384-x25519-ke1_mlkem768"
    assert (found["btmm-in"][0], found["btmm-in-nas_bob_example"][0]) == (first, first)
    assert found["btmm-in-old_bob_example"] == ["aes256-sha256-modp2048"]


@given(CHANGES)
def test_strongswan_gets_what_it_can_read(changes: dict[str, Any]) -> None:
    options = {**HOST, **changes}
    try:
        text = tunnel_files.for_strongswan(options)
    except InvalidTunnel as error:
        assert ": " in str(error)  # noqa: PT017 - one of two outcomes
        return
    assert len(parsed(text)["connections"]) == 1 + len(changes["peers"])


@given(CHANGES, RACOON_CHANGES)
def test_racoon_gets_what_its_validator_takes(changes: dict[str, Any], more: dict[str, Any]) -> None:
    try:
        files = tunnel_files.for_racoon({**RACOON, **changes, **more}, None)
    except (InvalidTunnel, RacoonError) as error:
        assert ": " in str(error)  # noqa: PT017 - one of two outcomes
        return
    racoon_grammar.check(files.configuration)
    racoon_setkey.check(files.policies)
    assert files.configuration.count("\nsainfo ") == len(changes["peers"])


def test_two_names_that_would_be_one_section() -> None:
    peers = [
        {"identity": name, "ula": f"fd12:3456:789a::{number}", "address": f"192.0.2.{number}"}
        for number, name in ((2, "a.b.example"), (3, "a_b.example"))
    ]
    with pytest.raises(InvalidTunnel, match=r"a_b\.example and another host would both be btmm-in-a_b_example"):
        tunnel_files.for_strongswan({**HOST, "peers": peers})
