# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a host's name servers when /etc/resolv.conf is handed to systemd-resolved."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kept_nameservers
short_description: Keep a host's name servers when /etc/resolv.conf is handed to systemd-resolved
version_added: 0.1.0
description:
  - A static C(/etc/resolv.conf) is lost as soon as systemd-resolved is installed. Run before that, this module copies
    the file, and tells systemd-resolved the same servers and search domains in a drop-in.
  - A host whose C(/etc/resolv.conf) belongs to systemd-resolved already is left as it is.
options:
  path:
    description: The file that programs read.
    type: path
    default: /etc/resolv.conf
  kept:
    description: Where the file of before is kept.
    type: path
    default: /etc/btmm/resolv.conf.before
  drop_in:
    description: Drop-in for systemd-resolved.
    type: path
    default: /etc/systemd/resolved.conf.d/btmm.conf
  state:
    description: V(absent) puts the file of before back, and removes the drop-in.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode: {support: full, description: Says what would change without changing it.}
  diff_mode: {support: full, description: Shows the drop-in, or the file put back.}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Keep the name servers of before
  btmm.fleet.kept_nameservers:
"""

RETURN = r"""
nameservers:
  description: Servers that were taken over.
  returned: always
  type: list
  elements: str
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic
from ansible_collections.btmm.fleet.plugins.module_utils.resolv_conf import parse

RESOLVED_DIR = "/run/systemd/resolve/"


def static_text(path: Path) -> str | None:
    """Return the text of a resolv.conf that is not systemd-resolved's; None when it is, or when there is none."""
    if os.path.realpath(path).startswith(RESOLVED_DIR):
        return None
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def keep(path: Path, kept: Path, drop_in: Path, module: AnsibleModule) -> None:
    """Copy the file and write the drop-in."""
    text = static_text(path)
    found = parse(text or "")
    if text is None or not found.servers:
        module.exit_json(changed=False, nameservers=[])
        return  # for the type checker: exit_json has left
    before = drop_in.read_text(encoding="utf-8") if drop_in.exists() else ""
    changed = before != found.drop_in() or not kept.exists() or kept.read_text(encoding="utf-8") != text
    if changed and not module.check_mode:
        for target, content in ((kept, text), (drop_in, found.drop_in())):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, content.encode(), 0o644)
    diff = {"before_header": str(drop_in), "after_header": str(drop_in), "before": before, "after": found.drop_in()}
    module.exit_json(changed=changed, nameservers=list(found.servers), diff=diff)


def put_back(path: Path, kept: Path, drop_in: Path, module: AnsibleModule) -> None:
    """Replace the link by the file of before, and remove what `keep` made."""
    changed = kept.exists() or drop_in.exists()
    text = kept.read_text(encoding="utf-8") if kept.exists() else ""
    if not module.check_mode:
        if kept.exists():
            # The replacement takes the place of the link, not of its target in /run.
            write_atomic(path, text.encode(), 0o644)
        kept.unlink(missing_ok=True)
        drop_in.unlink(missing_ok=True)
    diff = {"before_header": str(kept), "after_header": str(path), "before": "", "after": text}
    module.exit_json(changed=changed, nameservers=list(parse(text).servers), diff=diff)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/resolv.conf"},
            "kept": {"type": "path", "default": "/etc/btmm/resolv.conf.before"},
            "drop_in": {"type": "path", "default": "/etc/systemd/resolved.conf.d/btmm.conf"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    path, kept, drop_in = (Path(module.params[key]) for key in ("path", "kept", "drop_in"))
    try:
        (keep if module.params["state"] == "present" else put_back)(path, kept, drop_in, module)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or path} can't be read or written: {error.strerror}")


if __name__ == "__main__":
    main()
