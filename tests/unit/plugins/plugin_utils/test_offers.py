# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host offers follows from its variables: the list first, then what is set up."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.btmm.fleet.plugins.filter.offered_services import offered_services
from ansible_collections.btmm.fleet.plugins.plugin_utils import offers

from tests.e2e.fleet import ROOT

DEFAULTS = ROOT / "roles" / "services" / "defaults" / "main"
LISTED: list[dict[str, Any]] = [{"type": "ssh", "port": 22, "txt": ["u=alice"]}, {"type": "_ipp._tcp", "port": 631}]


@pytest.mark.parametrize(
    ("variables", "more"),
    [
        ({}, []),
        ({"services_ssh": "no", "services_web": False, "services_shares": [], "services_screen": {}}, []),
        ({"services_web": True}, [{"type": "_http._tcp", "port": 80}]),
        ({"services_web": "yes", "services_web_port": 8080}, [{"type": "_http._tcp", "port": 8080}]),
        ({"services_shares": [{"name": "Public"}]}, [{"type": "_smb._tcp", "port": 445}]),
        ({"services_shares": [{"name": "Public"}], "services_share_port": 1445}, [{"type": "_smb._tcp", "port": 1445}]),
        ({"services_screen": {"user": "alice"}}, [{"type": "_rfb._tcp", "port": 5900}]),
        ({"services_screen": {"user": "alice", "port": 5901}}, [{"type": "_rfb._tcp", "port": 5901}]),
        ({"services_ssh": True}, []),  # as it is listed, with its TXT
        ({"services_ssh": True, "services_ssh_port": "22"}, []),
        ({"services_ssh": True, "services_ssh_port": 2222}, [{"type": "_ssh._tcp", "port": 2222}]),
    ],
)
def test_what_is_set_up_comes_after_what_is_listed(variables: dict[str, Any], more: list[dict[str, Any]]) -> None:
    assert offered_services({"btmm_services": LISTED, **variables}) == LISTED + more


def test_nothing_is_offered_by_a_host_that_says_nothing() -> None:
    assert offered_services({}) == []


@pytest.mark.parametrize("broken", [{"type": "s s h", "port": 22}, {"port": 22}, "ssh"])
def test_what_is_listed_wrongly_is_left_to_who_checks_the_list(broken: object) -> None:
    assert offered_services({"btmm_services": [broken], "services_ssh": True}) == [
        broken,
        {"type": "_ssh._tcp", "port": 22},
    ]


def test_ports_are_the_role_s() -> None:
    """The zone host's grants are made where the role's defaults are not known."""
    defaults = yaml.safe_load((DEFAULTS / "ssh.yml").read_text()) | yaml.safe_load((DEFAULTS / "web.yml").read_text())
    assert defaults["services_ssh_port"] == offers.SSH_PORT
    assert defaults["services_web_port"] == offers.WEB_PORT
