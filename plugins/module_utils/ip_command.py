# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own ``ip``, for modules: many orders in one process, and errors that say what to do."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible.module_utils.basic import AnsibleModule

NOTHING = "No such file or directory"  # what the kernel says of a policy that it does not have

_FAILED_LINE = re.compile(r"Command failed -:([0-9]+)")
_FIXES = (
    ("Operation not permitted", "run the task as root (become)"),
    ("Cannot find device", "name a link that the host has, as 'ip link' lists them"),
    ("Invalid source address", "give the host that address first"),
    ("not supported", "load the kernel's module for it, or take another kernel"),
)


def ask(module: AnsibleModule, *arguments: str) -> str:
    """Return what ``ip`` answers, "" when it has `NOTHING`; the module ends when it fails."""
    code, out, err = module.run_command([_ip(module), *arguments])
    if code and NOTHING not in err:
        fail(module, " ".join(arguments), err)
    return str(out) if not code else ""


def order(module: AnsibleModule, orders: Sequence[Sequence[str]]) -> None:
    """Have ``ip`` do all of this in one process; the module ends at the first that fails, and the rest is not done."""
    if not orders:
        return
    lines = [" ".join(words) for words in orders]
    code, _, err = module.run_command([_ip(module), "-batch", "-"], data="\n".join(lines))
    if code:
        number = _FAILED_LINE.search(err)
        fail(module, lines[int(number[1]) - 1] if number else lines[0], _FAILED_LINE.sub("", err))


def fail(module: AnsibleModule, what: str, error: str) -> None:
    """End the module: host, cause, fix."""
    cause = " ".join(error.split()).rstrip(".")
    fix = next((fix for sign, fix in _FIXES if sign in cause), "compare the task with what 'ip' shows on the host")
    module.fail_json(msg=f"{platform.node()}: 'ip {what}' failed ({cause}): {fix}")


def _ip(module: AnsibleModule) -> str:
    return str(module.get_bin_path("ip", required=True))
