# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action.zone_grants import ActionModule
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore

PASSPHRASE = "correct horse battery"
Runner = Callable[..., tuple[dict[str, Any], dict[str, Any]]]
Variables = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> OwnerStore:
    made = OwnerStore(tmp_path_factory.mktemp("owner"), "bob.members.example", PASSPHRASE)
    made.init()
    return made


@pytest.fixture
def variables(store: OwnerStore) -> Variables:
    def make(label: str, number: int, **more: object) -> dict[str, Any]:
        return {"inventory_hostname_short": label, "identity_ula": str(store.prefix[number]), **more}

    return make


@pytest.fixture
def run(store: OwnerStore) -> Runner:
    def runner(hostvars: dict[str, Any], **args: object) -> tuple[dict[str, Any], dict[str, Any]]:
        task = MagicMock(args=args, async_val=0, check_mode=False, diff=True)
        templar = MagicMock()
        templar.template = lambda value: value
        action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), templar, MagicMock())
        action._execute_module = MagicMock(return_value={"changed": True, "refused": {"imac": "it is taken"}})
        inventory = {
            "inventory_hostname": "zone",
            "btmm_zone": "bob.members.example",
            "btmm_owner_dir": str(store.directory.parent),
            "btmm_owner_passphrase": PASSPHRASE,
            "hostvars": hostvars,
        }
        result = action.run(task_vars=inventory)
        return result, action._execute_module.call_args.kwargs

    return runner


def test_secrets_and_grants_go_to_the_zone_host_in_one_call(
    run: Runner, store: OwnerStore, variables: Variables
) -> None:
    hostvars = {
        "imac.lan": variables("imac", 1, btmm_services=[{"type": "ssh", "port": 22}]),
        "mini": variables("x", 2, btmm_label="mini", services_web=True),
    }
    result, called = run(hostvars, hosts=["imac.lan", "mini"])
    assert called["module_name"] == "btmm.fleet.update_policy"
    arguments = called["module_args"]
    assert [host["label"] for host in arguments["hosts"]] == ["imac", "mini"]
    assert arguments["hosts"][1]["secret"] == store.tsig_secret("mini")
    assert arguments["admin_secret"] == store.tsig_secret("_admin")
    assert arguments["prefix"] == str(store.prefix)
    granted = {grant["name"] for grant in arguments["hosts"][0]["grants"]}
    assert "imac._ssh._tcp.bob.members.example." in granted
    granted = {grant["name"] for grant in arguments["hosts"][1]["grants"]}
    assert "mini._http._tcp.bob.members.example." in granted  # what a role sets up is advertised, too
    assert result["refused"] == {"imac.lan": "imac.lan: it is taken"}
    assert result["reverse_zone"].endswith("d.f.ip6.arpa")
    assert arguments["hosts"][1]["secret"] not in str(result)


def test_a_host_that_cannot_have_grants_does_not_stop_the_others(run: Runner, variables: Variables) -> None:
    hostvars = {
        "a": variables("a", 1),
        "b": variables("b", 2, btmm_label="a"),
        "c": variables("c", 3, btmm_services=[{"type": "ssh", "port": 0}]),
        "d": {"inventory_hostname_short": "d"},
        "e": variables("e", 5, btmm_label="not a label"),
        "f": {**variables("f", 6), "identity_ula": "fd00::6"},
    }
    result, called = run(hostvars, hosts=list(hostvars))
    assert [host["label"] for host in called["module_args"]["hosts"]] == ["a"]
    assert set(result["refused"]) >= {"b", "c", "d", "e", "f"}
    assert "label a is a's" in result["refused"]["b"]
    assert "is not in the fleet's fd" in result["refused"]["f"]
    assert "no address yet" in result["refused"]["d"]


def test_removal_needs_no_secret(run: Runner) -> None:
    _, called = run({}, labels=["iMac"], state="absent")
    assert called["module_args"]["hosts"] == [{"label": "imac"}]
    assert "admin_secret" not in called["module_args"]


def test_a_wrong_zone_is_told(run: Runner) -> None:
    with pytest.raises(AnsibleActionFail, match="zone 'bob' is not a domain"):
        run({}, zone="bob")
