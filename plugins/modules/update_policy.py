# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the TSIG keys and grants of the fleet's hosts on the zone host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: update_policy
short_description: Keep the TSIG keys and grants of the fleet's hosts on the zone host
description:
  - Runs on the zone host. Keeps one entry per host, and makes of all entries the files that C(named.conf) includes -
    C(admin.key), C(keys.conf), C(policy-forward.conf) and C(policy-reverse.conf).
  - Only the hosts that are given are touched; the entries of all others stay.
  - The new files must pass C(named-checkconf) before the first one is installed, and C(named), when it runs, must take
    them (C(rndc reconfig)); else all files are as they were.
  - Names that a host could write before stay writable for it, so that it can withdraw them.
  - Secrets appear neither in the diff nor in the log.
version_added: 0.1.0
attributes:
  check_mode: {support: full, description: Says what would change without changing it.}
  diff_mode: {support: full, description: A diff per file; of secrets only whether they changed.}
options:
  zone: {description: The owner's zone., type: str, required: true}
  prefix: {description: The fleet's /48., type: str, required: true}
  directory: {description: Where the files are., type: path, default: /etc/bind/btmm}
  hosts:
    description: The hosts of this run.
    type: list
    elements: dict
    default: []
    suboptions:
      label: {description: Label of the host., type: str, required: true}
      secret: {description: The host's TSIG key in base64. Needed with O(state=present)., type: str}
      generation: {description: Which of the host's keys it is; part of the key's name., type: int, default: 0}
      grants:
        description: What the host may write - a list of C(name), C(types) and C(shared).
        type: list
        elements: dict
        default: []
  admin_secret: {description: TSIG key of the owner in base64; the stored one is kept without it., type: str}
  retire:
    description:
      - Whether former keys of the hosts given go. They stay valid beside a key of a new generation, until every host
        is known to use the new one.
    type: bool
    default: false
  state:
    description: Whether the hosts given should have a key.
    type: str
    choices: [present, absent]
    default: present
requirements: [python3-dnspython >= 2.3, bind9]
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Revoke the key of a host
  btmm.fleet.update_policy:
    zone: bob.members.example
    prefix: fd12:3456:789a::/48
    hosts: [{label: imac}]
    state: absent
"""

RETURN = r"""
changed_files:
  description: Files that were, or would be, written or removed.
  returned: always
  type: list
  elements: str
refused:
  description: For each host that got nothing, the sentence that says why.
  returned: always
  type: dict
"""

import shutil
import tempfile
from ipaddress import IPv6Network
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.btmm.fleet.plugins.module_utils import bind, names
    from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic
except ImportError as error:
    if error.name is None or not error.name.startswith("dns"):
        raise
    HAS_DNS = False
else:
    HAS_DNS = True

HOST = {
    "label": {"type": "str", "required": True},
    "secret": {"type": "str", "no_log": True},
    "generation": {"type": "int", "default": 0},
    "grants": {"type": "list", "elements": "dict", "default": []},
}
ARGUMENTS = {
    "zone": {"type": "str", "required": True},
    "prefix": {"type": "str", "required": True},
    "directory": {"type": "path", "default": "/etc/bind/btmm"},
    "hosts": {"type": "list", "elements": "dict", "default": [], "options": HOST},
    "admin_secret": {"type": "str", "no_log": True},
    "retire": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ENTRIES = "hosts"
INCLUDES = ("admin.key", "keys.conf", "policy-forward.conf", "policy-reverse.conf")


def read(path: Path) -> str | None:
    """Return a file's text, or None when there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def stored_entries(directory: Path) -> dict[str, bind.Entry]:
    """Return the entries of all hosts."""
    entries = {}
    for path in sorted((directory / ENTRIES).glob("*.json")):
        try:
            entries[path.stem] = bind.Entry.from_json(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): remove it and enrol the host again") from error
    return entries


def wanted_files(module: AnsibleModule, directory: Path) -> tuple[dict[Path, str | None], dict[str, str]]:
    """Return the content that every file should have (None: no file), and the hosts that are refused."""
    zone = names.parse_zone(module.params["zone"])
    reverse = names.reverse_zone(IPv6Network(module.params["prefix"]))
    entries = stored_entries(directory)
    refused: dict[str, str] = {}
    files: dict[Path, str | None] = {}
    if module.params["state"] == "absent":
        for host in module.params["hosts"]:
            label = names.check_label(host["label"])
            entries.pop(label, None)
            files[directory / ENTRIES / f"{label}.json"] = None
    else:
        given = {
            names.check_label(host["label"]): bind.Entry(
                host["secret"] or "", bind.parse_grants(host["grants"]), generation=host["generation"]
            )
            for host in module.params["hosts"]
        }
        entries, refused = bind.enrol(entries, given, retire=module.params["retire"])
    files |= {directory / ENTRIES / f"{label}.json": entry.to_json() for label, entry in entries.items()}
    admin = read(directory / "admin.key")
    if module.params["admin_secret"]:
        admin = bind.key_conf(bind.admin_key_name(zone), module.params["admin_secret"])
    if admin is None and module.params["state"] == "absent":
        return files, refused
    if admin is None:
        raise ValueError(f"{directory}/admin.key is missing: give admin_secret")
    contents = (
        admin,
        bind.keys_conf(zone, entries),
        bind.policy_conf(zone, zone, entries),
        bind.policy_conf(zone, reverse, entries),
    )
    files |= {directory / name: content for name, content in zip(INCLUDES, contents, strict=True)}
    return files, refused


def check(module: AnsibleModule, files: dict[Path, str | None]) -> None:
    """Let named-checkconf judge the include files in a configuration of their own, before anything is installed."""
    folder = Path(tempfile.mkdtemp(dir=module.tmpdir))
    for path, content in files.items():
        if content is not None and path.name in INCLUDES:
            (folder / path.name).write_text(content)
    zones = "".join(
        f'zone "{kind}.invalid" {{ type primary; file "{kind}.db"; include "{folder}/policy-{kind}.conf"; }};\n'
        for kind in ("forward", "reverse")
    )
    (folder / "named.conf").write_text(f'include "{folder}/admin.key";\ninclude "{folder}/keys.conf";\n{zones}')
    code, out, err = module.run_command(["named-checkconf", str(folder / "named.conf")])
    if code:
        raise ValueError(
            f"named-checkconf refuses the new keys and grants, nothing was installed: {(err or out).strip()}"
        )


def install(directory: Path, files: dict[Path, str | None]) -> None:
    """Write or remove files; what named includes is readable for its group, the entries only for root."""
    if not directory.exists():
        directory.mkdir(mode=0o750, parents=True)
        shutil.chown(directory, "root", "bind")
    (directory / ENTRIES).mkdir(mode=0o700, exist_ok=True)
    for path, content in files.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            write_atomic(path, content.encode(), 0o640 if path.name in INCLUDES else 0o600)
            if path.name in INCLUDES:
                shutil.chown(path, "root", "bind")


def reload(module: AnsibleModule) -> None:
    """Make a running named take the files; one that does not run reads them at its start."""
    if module.run_command(["systemctl", "is-active", "--quiet", "named"])[0]:
        return
    code, out, err = module.run_command(["rndc", "reconfig"])
    if code:
        raise ValueError(f"named did not take the new keys and grants, the old ones are back: {(err or out).strip()}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if not HAS_DNS:
        module.fail_json(msg=missing_required_lib("dnspython", url="package python3-dnspython"))
    directory = Path(module.params["directory"])
    try:
        files, refused = wanted_files(module, directory)
        before = {path: read(path) for path in files}
        changed = {path: content for path, content in files.items() if content != before[path]}
        if changed and not module.check_mode:
            check(module, files)
            install(directory, changed)
            try:
                reload(module)
            except ValueError:
                install(directory, {path: before[path] for path in changed})
                raise
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    diffs = [
        {
            "before_header": str(path),
            "after_header": str(path),
            "before": bind.without_secrets(before[path] or ""),
            "after": bind.without_secrets(content or ""),
        }
        for path, content in changed.items()
        if path.name in INCLUDES
    ]
    module.exit_json(changed=bool(changed), changed_files=[str(path) for path in changed], refused=refused, diff=diffs)


if __name__ == "__main__":
    main()
