# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the files of a role on the controller and hand them to the module of the same name at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

TEMPLATES = Path(__file__).parents[2] / "templates"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Render, keep secrets apart from the logged arguments, run the module once."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; see the module's documentation."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        present = arguments.get("state", "present") == "present"
        files, secrets = [], {}
        for given in arguments.get("files", []):
            entry = {key: value for key, value in given.items() if key != "content"}
            if present and entry.get("secret"):
                secrets[entry["dest"]] = self._text(given)
            elif present:
                entry["content"] = self._text(given)
            files.append(entry)
        arguments.update(files=files, secrets=secrets)
        result.update(
            self._execute_module(module_name="btmm.fleet.file_set", module_args=arguments, task_vars=task_vars)
        )
        return result

    def _text(self, entry: dict[str, Any]) -> str:
        """Return a file's text; a file without template and content is an error of the role."""
        if "content" in entry:
            return str(entry["content"])
        if "template" not in entry:
            raise AnsibleActionFail(f"{entry.get('dest')}: give 'template' or 'content'")
        path = TEMPLATES / entry["template"]
        try:
            source = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise AnsibleActionFail(f"{entry['dest']}: there is no template {path}") from error
        return str(self._templar.template(trust_as_template(source)))
