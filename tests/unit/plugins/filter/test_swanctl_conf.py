# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role tunnel installs, from its own variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.display import Display
from ansible_collections.btmm.fleet.plugins.filter.swanctl_conf import FilterModule

from tests.unit.swanctl_conf import parsed

ROLE = Path(__file__).parents[4] / "roles/tunnel"
FACTS = {
    "tunnel_identity": "imac.bob.example",
    "__tunnel_zone": "bob.example",
    "__tunnel_local": {"connection": "btmm-in-bob_example"},
    "__tunnel_ula": "fd12:3456:789a::1",
    "__tunnel_prefix": "fd12:3456:789a::/48",
    "__tunnel_data_path": "kernel",
}


def installed(**options: object) -> str:
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / name / "main.yml"), trusted_as_template=True)
    templar = Templar(loader, {**variables, **FACTS, **options})
    swanctl_conf = FilterModule().filters()["swanctl_conf"]
    return str(swanctl_conf(templar.template(variables["__tunnel_description"])))


def test_one_connection_for_all() -> None:
    assert (
        installed()
        == """\
# Written by Ansible (btmm.fleet).
connections {
  btmm-in-bob_example {
    version = 2
    remote_addrs = %any
    local_port = 4500
    encap = yes
    mobike = yes
    dpd_delay = 120s
    proposals = aes256gcm16-prfsha384-x25519,aes128gcm16-prfsha256-x25519,aes256gcm16-prfsha384-ecp256
    local {
      auth = pubkey
      certs = btmm-bob.example.pem
      id = imac.bob.example
    }
    remote {
      auth = pubkey
      cacerts = btmm-bob.example.pem,btmm-bob.example+2.pem
      revocation = strict
    }
    children {
      btmm-in-bob_example {
        mode = tunnel
        local_ts = fd12:3456:789a::1/128
        remote_ts = fd12:3456:789a::/48
        esp_proposals = aes256gcm16-x25519,aes128gcm16-x25519,aes256gcm16-ecp256
        copy_df = no
        start_action = none
        dpd_action = clear
        inactivity = 600s
      }
    }
    unique = no
  }
}
"""
    )


def test_the_roles_options() -> None:
    text = installed(
        tunnel_port=4600,
        tunnel_dpd_delay=9,
        tunnel_idle=8,
        tunnel_ike_proposals=["aes256-sha256-modp2048"],
        tunnel_esp_proposals=["aes256-sha512"],
    )
    connection = parsed(text)["connections"]["btmm-in-bob_example"]
    assert connection["local_port"] == "4600"
    assert connection["dpd_delay"] == "9s"
    assert connection["proposals"] == "aes256-sha256-modp2048"
    (child,) = connection["children"].values()
    assert (child["inactivity"], child["esp_proposals"]) == ("8s", "aes256-sha512")


# As strongSwan prints it.
LISTED = "encryption:\n  AES_CBC[aesni]\nke:\n  MODP_2048_224[openssl]\n  ML_KEM_768[openssl]\n  CURVE_25519[openssl]\n"


@pytest.mark.parametrize(("data_path", "start"), [("kernel", "trap"), ("libipsec", "start")])
def test_a_peer_with_racoon_is_called_as_the_data_path_allows(data_path: str, start: str) -> None:
    nas = {"identity": "nas.bob.example", "ula": "fd12:3456:789a::9", "address": "203.0.113.20", "ike_version": 1}
    text = installed(tunnel_peers=[nas], __tunnel_data_path=data_path)
    name = "btmm-in-bob_example-nas_bob_example"
    section = parsed(text)["connections"][name]
    assert (section["version"], section["children"][name]["start_action"]) == ("1", start)


def test_what_the_hosts_strongswan_lists() -> None:
    hybrid = "aes256gcm16-prfsha384-x25519-ke1_mlkem768,"
    text = installed(__tunnel_able={"stdout": LISTED})
    assert text.replace(hybrid, "").replace("aes256gcm16-x25519-ke1_mlkem768,", "") == installed()
    assert f"proposals = {hybrid}" in text
    for other in ({"stdout": LISTED.replace("ML_KEM_768", "ML_KEM_1024")}, {"rc": 1, "stdout": ""}, {"rc": 2}):
        assert installed(__tunnel_able=other) == installed()
    own = {"tunnel_ike_proposals": ["aes256-sha256-modp2048"], "tunnel_esp_proposals": ["aes256-sha512"]}
    assert installed(__tunnel_able={"stdout": LISTED}, **own) == installed(**own)


def test_weak_proposals_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _, text: warnings.append(text))
    own = {"tunnel_ike_proposals": ["aes256-sha1-modp1024"], "tunnel_esp_proposals": ["aes256-sha512"]}
    with pytest.raises(AnsibleFilterError, match=r"sha1, modp1024 .*take others, or ask for the weak ones"):
        installed(**own)
    assert "proposals = aes256-sha1-modp1024\n" in installed(tunnel_weak=True, **own)
    assert warnings == ["imac.bob.example: sha1, modp1024 in its proposals can be broken today"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tunnel_esp_proposals": ["aes256"]}, "imac.bob.example has proposals for IKE or ESP alone"),
        ({"__tunnel_ula": "fd00::1"}, "not in fd12:3456:789a::/48"),
    ],
)
def test_errors(options: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        installed(**options)
