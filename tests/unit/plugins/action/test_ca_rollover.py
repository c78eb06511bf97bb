# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from one CA to the next, as the playbook takes them, and what a host gets at each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.action import ca_rollover
from ansible_collections.btmm.fleet.plugins.module_utils import bundle
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
from ansible_collections.btmm.fleet.plugins.modules import ca_rollover as documentation

from tests.unit.acting import run_action
from tests.unit.plugins.action.test_host_identity import Fleet, fleet

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fleet"]  # a fixture


def take(fleet: Fleet, step: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    variables = fleet.variables("imac")
    return run_action(ca_rollover.ActionModule, {"step": step, **options}, variables, check=check)


def enrol(fleet: Fleet, host: str = "imac", **options: Any) -> dict[str, Any]:
    return fleet.enrol(host, crl_path=str(crl(fleet, host)), seconds=True, **options)


def crl(fleet: Fleet, host: str) -> Path:
    return fleet.place / host / "x509crl" / "crl.pem"


def pairs(fleet: Fleet, host: str = "imac") -> list[list[str]]:
    """Return what a host has of CAs and lists, and what stands in each one's second file."""
    found = []
    for path in (fleet.file(2, host), crl(fleet, host)):
        held = bundle.split(path.read_text())
        assert bundle.second_path(path).read_text() == held[-1]
        found.append(held)
    return found


def test_a_host_has_both_then_a_certificate_of_the_next_then_the_next_alone(fleet: Fleet) -> None:
    for host in ("imac", "mini"):
        enrol(fleet, host)
    assert [len(each) for each in pairs(fleet)] == [1, 1]
    assert take(fleet, "begin", check=True)["changed"]
    assert not take(fleet, "issue")["changed"]
    begun = take(fleet, "begin")
    assert (begun["changed"], begun["former_stage"], begun["stage"]) == (True, "", "both")
    assert begun["lacking"] == ["imac", "mini"]
    assert begun["diff"][0]["after"] == ("CN=bob.members.example owner CA, signs\nCN=bob.members.example owner CA 2\n")
    assert not take(fleet, "begin")["changed"]
    planned = enrol(fleet, check=True)
    assert (planned["changed"], planned["reason"]) == (True, "")
    given = enrol(fleet)
    assert (given["changed"], given["reason"]) == (True, "")
    assert "owner CA 2" in "".join(each["after"] for each in given["diff"])
    assert not enrol(fleet)["changed"]
    assert [len(each) for each in pairs(fleet)] == [2, 2]
    waiting = take(fleet, "issue")
    assert (waiting["changed"], waiting["lacking"]) == (False, ["mini"])
    enrol(fleet, "mini")
    assert take(fleet, "issue", check=True)["changed"]
    assert take(fleet, "issue")["outdated"] == ["imac", "mini"]
    for host in ("imac", "mini"):
        with pytest.raises(AnsibleActionFail, match=f"in use by .*{'mini' if host == 'imac' else 'mini;'}"):
            take(fleet, "retire")
        assert "of another CA" in enrol(fleet, host)["reason"]
        assert not enrol(fleet, host)["changed"]
    assert take(fleet, "retire", check=True)["stage"] == "issuing"
    retired = take(fleet, "retire")
    assert (retired["changed"], retired["stage"]) == (True, "")
    assert not take(fleet, "retire")["changed"]
    last = enrol(fleet)
    assert (last["changed"], last["reason"]) == (True, "")
    assert [len(each) for each in pairs(fleet)] == [1, 1]
    assert not enrol(fleet)["changed"]


def test_force_goes_on_without_who_is_away(fleet: Fleet) -> None:
    enrol(fleet)
    take(fleet, "begin")
    assert take(fleet, "issue", force=True)["stage"] == "issuing"
    assert take(fleet, "retire", force=True)["stage"] == ""
    late = enrol(fleet)
    assert "of another CA" in late["reason"]
    assert [len(each) for each in pairs(fleet)] == [1, 1]


def test_a_second_file_that_was_lost_comes_back(fleet: Fleet) -> None:
    enrol(fleet)
    path = bundle.second_path(fleet.file(2))
    path.unlink()
    assert enrol(fleet, check=True)["changed"]
    assert not path.exists()
    assert enrol(fleet)["changed"]
    assert path.read_text() == fleet.file(2).read_text()
    enrol(fleet, state="absent")
    assert not path.exists()


def test_without_a_store_nothing_begins(fleet: Fleet) -> None:
    with pytest.raises(AnsibleActionFail, match="there is no owner's state"):
        take(fleet, "begin", owner_dir=str(fleet.place / "elsewhere"))
    assert OwnerStore(fleet.place / ".btmm", "bob.members.example", "correct horse").authorities.stage is None


def test_the_documentation_names_the_options_that_there_are() -> None:
    options = documentation.DOCUMENTATION.partition("\noptions:")[2].partition("\nattributes:")[0]
    described = re.findall(r"^  (\w+):", options, re.MULTILINE)
    assert set(described) == set(ca_rollover.ActionModule.OPTIONS)
