# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone host's side of a backup: read everything that makes the zone, or put it back."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: zone_archive
short_description: Read all that makes the zone on its primary, or put it back
version_added: 0.1.0
description:
  - The host's side of M(btmm.fleet.zone_backup), which encrypts what this module returns. Zones are read by transfer
    (AXFR), each as it is at one moment; updates go on meanwhile. Keys, grants and signing keys are read as files.
  - To put it back, C(named) is stopped, journals are removed, and C(named) is left for the role zone to start.
options:
  zones:
    description: The zones, each with its file.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: The zone's name., type: str, required: true}
      path: {description: Its file., type: path, required: true}
  directories:
    description: Folders with keys, grants and signing keys.
    type: list
    elements: path
    required: true
  key_file: {description: The owner's TSIG key on this host., type: path, required: true}
  archive: {description: What to put back in base64; without it the host is only read., type: str}
attributes:
  check_mode: {support: full, description: Says whether anything would change.}
  diff_mode: {support: none, description: What changes is secret for the most part.}
requirements: [python3-dnspython >= 2.3, bind9-utils]
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Read what makes the zone
  btmm.fleet.zone_archive:
    zones: [{name: bob.members.example, path: /var/lib/bind/btmm-forward.db}]
    directories: [/etc/bind/btmm]
    key_file: /etc/bind/btmm/admin.key
  no_log: true
"""

RETURN = r"""
archive:
  description: All of it in base64; secret.
  returned: without O(archive)
  type: str
digest:
  description: SHA-256 over it, hex.
  returned: always
  type: str
serials:
  description: The serial number of each zone.
  returned: without O(archive)
  type: dict
"""

import base64
import contextlib
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import dns.exception
    import dns.query
    import dns.zone
    from ansible_collections.btmm.fleet.plugins.module_utils import archive, bind
except ImportError as error:
    if error.name is None or not error.name.startswith("dns"):
        raise
    HAS_DNS = False
else:
    HAS_DNS = True

ZONE = {"name": {"type": "str", "required": True}, "path": {"type": "path", "required": True}}
TIMEOUT_S = 60.0


def transferred(name: str, key_file: str) -> dns.zone.Zone:
    """Return a zone as it is now."""
    try:
        key = bind.parse_key(Path(key_file).read_text())
        messages = dns.query.xfr(
            "127.0.0.1", name, keyring={key.name: key}, keyname=key.name, keyalgorithm=key.algorithm,
            relativize=False, lifetime=TIMEOUT_S,
        )  # fmt: skip
        return dns.zone.from_xfr(messages, relativize=False)
    except FileNotFoundError as error:
        raise ValueError(f"there is no key {key_file}: set up the zone first") from error
    except (OSError, EOFError, dns.exception.DNSException) as error:
        raise ValueError(f"{name} cannot be read from 127.0.0.1 ({error}): check that named runs") from error


def present(module: AnsibleModule) -> tuple[dict[str, archive.Kept], dict[str, int]]:
    """Return the files as they are, or would be if named wrote its zones now; and the zones' serial numbers."""
    files: dict[str, archive.Kept] = {}
    serials = {}
    for zone in module.params["zones"]:
        content = transferred(zone["name"], module.params["key_file"])
        serials[zone["name"]] = content.get_soa().serial
        text = content.to_text(sorted=True, relativize=False)
        files[zone["path"]] = archive.Kept(text.encode(), 0o640, "bind", "bind")
    for directory in module.params["directories"]:
        files |= archive.read_tree(Path(directory))
    return files, serials


def put_back(module: AnsibleModule, files: dict[str, archive.Kept]) -> None:
    """Stop named and write the files; nothing is touched unless each zone can be loaded."""
    for zone in module.params["zones"]:
        if zone["path"] not in files:
            raise ValueError(f"the backup has no {zone['name']}: was it made of another zone?")
        with tempfile.NamedTemporaryFile(dir=module.tmpdir) as file:
            file.write(files[zone["path"]].content)
            file.flush()
            # Hosts' names have octets that host names have not.
            code, out, err = module.run_command(["named-checkzone", "-k", "ignore", "-q", zone["name"], file.name])
        if code:
            raise ValueError(f"named-checkzone refuses {zone['name']} of the backup: {(err or out).strip()}")
    module.run_command(["systemctl", "stop", "named.service"], check_rc=True)
    for zone in module.params["zones"]:
        Path(f"{zone['path']}.jnl").unlink(missing_ok=True)
    archive.install(files)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "zones": {"type": "list", "elements": "dict", "required": True, "options": ZONE},
            "directories": {"type": "list", "elements": "path", "required": True},
            "key_file": {"type": "path", "required": True, "no_log": False},
            "archive": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    if not HAS_DNS:
        module.fail_json(msg=missing_required_lib("dnspython", url="package python3-dnspython"))
    try:
        if module.params["archive"] is None:
            files, serials = present(module)
            packed = base64.b64encode(archive.pack(files)).decode()
            module.exit_json(changed=False, archive=packed, digest=archive.digest(files), serials=serials)
        places = [zone["path"] for zone in module.params["zones"]] + module.params["directories"]
        wanted = archive.unpack(base64.b64decode(module.params["archive"]), places)
        now: dict[str, archive.Kept] = {}
        # A host without a zone, or with a broken one, is what a backup is for.
        with contextlib.suppress(ValueError):
            now, _ = present(module)
        if now != wanted and not module.check_mode:
            put_back(module, wanted)
        module.exit_json(changed=now != wanted, digest=archive.digest(wanted))
    except (ValueError, OSError, LookupError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
