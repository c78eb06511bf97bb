# SPDX-License-Identifier: GPL-3.0-or-later
"""Install or remove several rendered files in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: file_set
short_description: Install or remove several rendered files in one round trip
description:
  - Renders templates on the controller and installs all of them with a single task, since a task is a round trip.
  - All files are written beside their destinations and validated before the first one is moved into place.
  - Templates are looked up in the collection's C(templates/) folder.
version_added: 0.1.0
attributes:
  check_mode: {support: full, description: Says what would change without changing it.}
  diff_mode: {support: full, description: "A diff per file; files marked O(files[].secret) show none."}
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      dest: {description: Absolute path on the host., type: path, required: true}
      template: {description: "Template, relative to the collection's C(templates/).", type: str}
      content: {description: "The text itself, instead of O(files[].template).", type: str}
      mode: {description: Mode in octal., type: str, default: "0644"}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group., type: str, default: root}
      secret:
        description: Never show the content; it is handed over apart from the logged arguments.
        type: bool
        default: false
      validate: {description: "Command that must accept the new file; C(%s) is its path.", type: str}
  directories:
    description: Folders that are made before the files, and removed after them when empty.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Mode in octal., type: str, default: "0755"}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group., type: str, default: root}
  secrets:
    description: Contents of the secret files by destination; filled in by the action plugin.
    type: dict
    default: {}
  state:
    description: Whether the files should be there.
    type: str
    choices: [present, absent]
    default: present
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Install the tunnel's files
  btmm.fleet.file_set:
    files:
      - {dest: /etc/strongswan.d/btmm.conf, template: tunnel/strongswan.conf.j2}
      - {dest: /etc/btmm/bob.members.example/guard.nft, template: tunnel/guard.nft.j2, validate: nft -c -f %s}
"""

RETURN = r"""
changed_files:
  description: Destinations that were, or would be, written or removed.
  returned: always
  type: list
  elements: str
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

FILE = {
    "dest": {"type": "path", "required": True},
    "template": {"type": "str"},
    "content": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "secret": {"type": "bool", "default": False},
    "validate": {"type": "str"},
}
DIRECTORY = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
ARGUMENTS = {
    "files": {"type": "list", "elements": "dict", "required": True, "options": FILE},
    "directories": {"type": "list", "elements": "dict", "default": [], "options": DIRECTORY},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def read(path: str) -> str | None:
    """Return a file's text, or None when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def diff_of(entry: dict[str, Any], before: str | None, after: str | None) -> dict[str, str]:
    """Make one file's diff; a secret's shows only that it changed."""
    if entry["secret"]:
        return {"header": entry["dest"], "prepared": "(secret content differs, not shown)\n"}
    dest = entry["dest"]
    return {
        "before_header": dest if before is not None else f"{dest} (absent)",
        "after_header": dest if after is not None else f"{dest} (absent)",
        "before": before or "",
        "after": after or "",
    }


def attributes_of(module: AnsibleModule, entry: dict[str, Any], path: str) -> dict[str, Any]:
    """Ask Ansible for the mode and owner arguments of one path."""
    wanted = {key: entry[key] for key in ("mode", "owner", "group")}
    unmanaged = dict.fromkeys(("attributes", "selevel", "serole", "setype", "seuser"))
    attributes: dict[str, Any] = module.load_file_common_arguments({**wanted, **unmanaged}, path=path)
    return attributes


def stage(module: AnsibleModule, entry: dict[str, Any], text: str) -> str:
    """Write the new content beside its destination and let the validator judge it."""
    parent = Path(entry["dest"]).parent
    folder = str(parent) if parent.is_dir() else module.tmpdir
    handle, name = tempfile.mkstemp(prefix=".btmm-", dir=folder)
    module.add_cleanup_file(name)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(text)
    if entry["validate"]:
        code, out_text, err_text = module.run_command(entry["validate"] % name)
        if code:
            reason = "its content is not shown" if entry["secret"] else (err_text or out_text).strip()
            module.fail_json(msg=f"{entry['dest']} was not installed: '{entry['validate']}' refused it: {reason}")
    return name


def make_directories(module: AnsibleModule) -> list[str]:
    """Make the folders, or bring their owner and mode to the wanted state."""
    changed: list[str] = []
    for entry in module.params["directories"]:
        path = Path(entry["path"])
        missing = not path.is_dir()
        if missing and not module.check_mode:
            path.mkdir(parents=True)
        adjusted = path.is_dir() and module.set_fs_attributes_if_different(
            attributes_of(module, entry, str(path)), changed=False
        )
        if missing or adjusted:
            changed.append(str(path))
    return changed


def install(module: AnsibleModule, diffs: list[dict[str, str]]) -> list[str]:
    """Bring every folder and file to the wanted state; all are staged before the first is moved."""
    changed = make_directories(module)
    staged: list[tuple[dict[str, Any], str]] = []
    for entry in module.params["files"]:
        text = module.params["secrets"][entry["dest"]] if entry["secret"] else entry["content"]
        before = read(entry["dest"])
        if before != text:
            diffs.append(diff_of(entry, before, text))
            changed.append(entry["dest"])
            staged.append((entry, stage(module, entry, text)))
    for entry, name in staged:
        if module.check_mode:
            continue
        # Owner and mode are set before the move: a secret is never readable, not even for a moment.
        module.set_fs_attributes_if_different(attributes_of(module, entry, name), changed=False)
        module.atomic_move(name, entry["dest"])
    for entry in module.params["files"]:
        settled = Path(entry["dest"]).exists()
        if settled and module.set_fs_attributes_if_different(
            attributes_of(module, entry, entry["dest"]), changed=False
        ):
            changed.append(entry["dest"])
    return list(dict.fromkeys(changed))


def remove(module: AnsibleModule, diffs: list[dict[str, str]]) -> list[str]:
    """Remove the files, then the folders that are empty."""
    changed: list[str] = []
    for entry in module.params["files"]:
        before = read(entry["dest"])
        if before is None:
            continue
        diffs.append(diff_of(entry, before, None))
        changed.append(entry["dest"])
        if not module.check_mode:
            Path(entry["dest"]).unlink(missing_ok=True)
    for directory in reversed(module.params["directories"]):
        path = Path(directory["path"])
        if path.is_dir() and all(str(child) in changed for child in path.iterdir()):
            changed.append(str(path))
            if not module.check_mode:
                path.rmdir()
    return changed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    diffs: list[dict[str, str]] = []
    changed = (install if module.params["state"] == "present" else remove)(module, diffs)
    module.exit_json(changed=bool(changed), changed_files=changed, diff=diffs)


if __name__ == "__main__":
    main()
