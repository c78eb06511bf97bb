# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the daemon as one file on the controller, and copy it when it differs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import FleetAction
from ansible_collections.btmm.fleet.plugins.plugin_utils.zipapp import APPS, ZipappError, cached


class ActionModule(FleetAction):
    """See the module's documentation."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "app": {"type": "str", "choices": list(APPS), "default": "watcher"},
        "dest": {"type": "path", "default": "/usr/local/bin/btmm"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }

    def perform(self) -> dict[str, Any]:
        """Hand over to Ansible's own copy and file, which know check mode, ownership and atomic replacement."""
        dest = self.options["dest"]
        if self.options["state"] == "absent":
            arguments = {"path": dest, "state": "absent"}
            removed: dict[str, Any] = self._execute_module(
                module_name="ansible.legacy.file", module_args=arguments, task_vars=self.task_vars
            )
            return removed
        try:
            built = cached(_cache(), APPS[self.options["app"]])
        except ZipappError as error:
            raise AnsibleActionFail(f"{self.host}: {error}") from error
        task = self._task.copy()
        task.args = {"src": str(built), "dest": dest, "mode": "0755", "owner": "root", "group": "root"}
        # A diff of a zip helps nobody.
        task.diff = False
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = copy.run(task_vars=self.task_vars)
        return result


def _cache() -> Path:
    """Where built daemons are kept (XDG Base Directory Specification), one per set of sources."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "btmm-fleet"
