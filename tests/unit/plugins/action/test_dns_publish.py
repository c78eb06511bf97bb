# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action.dns_publish import ActionModule
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore

from tests.unit.acting import run_action

PASSPHRASE = "correct horse battery"
HOSTVARS: dict[str, Any] = {
    "imac.lan": {
        "inventory_hostname_short": "imac",
        "identity_ula": "fd12:3456:789a::1",
        "btmm_title": "Bob's iMac",
        "btmm_endpoint": {"address": "203.0.113.1"},
        "btmm_services": [{"type": "ssh", "port": 22}],
    },
    "x": {"inventory_hostname_short": "x", "btmm_label": "mini", "btmm_records": ["www 60 CNAME mini"]},
    "bad_label": {"inventory_hostname_short": "bad_label"},
}
VARIABLES: dict[str, Any] = {
    "btmm_zone": "bob.members.example",
    "ansible_play_hosts": list(HOSTVARS),
    "hostvars": HOSTVARS,
}


class Module:
    """Stands in for the module, and keeps what it was given."""

    def __init__(self, **result: Any) -> None:
        self.result = result
        self.name = ""
        self.arguments: dict[str, Any] = {}

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert not self.name, "one round trip"
        self.name, self.arguments = name, dict(arguments)
        return {"changed": True, **self.result}


def test_all_hosts_go_in_one_round_trip() -> None:
    module = Module(hosts={"imac.lan": {"changed": True}}, failed_hosts={"x": "x: refused"})
    result = run_action(ActionModule, {"key_file": "/key", "server": "ns"}, VARIABLES, module)
    assert module.name == "btmm.fleet.dns_host"
    assert [(host["name"], host["label"]) for host in module.arguments["hosts"]] == [
        ("imac.lan", "imac"),
        ("x", "mini"),
    ]
    assert module.arguments["hosts"][0]["endpoint"] == {"address": "203.0.113.1"}
    assert module.arguments["server"] == "ns"
    assert module.arguments["prefix"] is None
    assert "key_secret" not in module.arguments
    assert set(result["failed_hosts"]) == {"x", "bad_label"}
    assert result["failed_hosts"]["bad_label"].startswith("bad_label: host label")
    assert len(result["warnings"]) == 2
    assert result["hosts"]["imac.lan"] == {"changed": True}


def test_a_task_that_would_run_for_each_host_is_told() -> None:
    with pytest.raises(AnsibleActionFail, match="set run_once"):
        run_action(ActionModule, {"key_file": "/key"}, VARIABLES, run_once=False)


def test_only_the_named_hosts() -> None:
    module = Module()
    run_action(ActionModule, {"hosts": ["x"], "key_file": "/key"}, VARIABLES, module)
    assert [host["name"] for host in module.arguments["hosts"]] == ["x"]


@pytest.mark.parametrize("given", [{}, {"key_file": "/key"}, {"key_algorithm": "gss-tsig"}])
def test_the_owners_store_gives_key_prefix_and_addresses(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, str]
) -> None:
    store = OwnerStore(tmp_path_factory.mktemp("owner"), "bob.members.example", PASSPHRASE)
    store.init()
    module = Module()
    owner = {"btmm_owner_dir": str(store.directory.parent), "btmm_owner_passphrase": PASSPHRASE}
    run_action(ActionModule, given, {**VARIABLES, **owner}, module)
    assert module.arguments["prefix"] == str(store.prefix)
    if given:
        assert "key_secret" not in module.arguments
    else:
        assert module.arguments["key_name"] == "_admin.bob.members.example."
        assert module.arguments["key_secret"] == store.tsig_secret("_admin")
