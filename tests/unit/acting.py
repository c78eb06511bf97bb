# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an action plugin in this process: what it would send to the host goes to a function of the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

OnHost = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def no_host(name: str, _: Mapping[str, Any]) -> dict[str, Any]:
    """For actions that run on the controller alone."""
    raise AssertionError(f"{name} was sent to the host")


def run_action(
    plugin: type[ActionBase],
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any],
    on_host: OnHost = no_host,
    *,
    check: bool = False,
    run_once: bool = True,
) -> dict[str, Any]:
    """Return the action's result; raises what it raises."""
    task = SimpleNamespace(
        args=dict(arguments), check_mode=check, diff=True, async_val=0, no_log=False, action="test", run_once=run_once
    )
    templar = SimpleNamespace(template=lambda value: value)
    action = plugin(task, mock.MagicMock(), mock.MagicMock(), mock.MagicMock(), templar, mock.MagicMock())
    action._execute_module = lambda module_name, module_args, task_vars: on_host(module_name, module_args)
    hostvars = dict(variables.get("hostvars", {}))
    result: dict[str, Any] = action.run(None, {"inventory_hostname": "imac", "hostvars": hostvars, **variables})
    return result
