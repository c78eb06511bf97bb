# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of a user's certificate: show what he asks for, install in his home what the action plugin signed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: user_certificate
short_description: The certificate of a user of the zone, for the key that he made on the host
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.issuing]
description:
  - A user makes his key and a request for it with C(btmm login), as himself, on each host that he works at. This
    module takes the request to the controller, where an action plugin signs a certificate with the owner's CA.
  - The certificate says C(O=ZONE, CN=USER), whatever the request says, and opens the realm of every host in the zone
    that has this user, see M(btmm.fleet.lkdc_principal). It has no alternative name.
  - Only users in the inventory's C(btmm_users) get one.
  - A certificate is made anew when it is missing, damaged, expired, unknown to the owner, of another CA or key, or has
    less than a third of its life left. The user need not be there for that.
  - The user's files are read and written with his rights only.
options:
  user:
    description: The user; he is the user of that name on the host.
    type: str
    required: true
  known:
    description:
      - Whether a certificate is made only for a key that the owner signed for before, on this host and for this user,
        and only while that certificate is not revoked. Whoever asks with another key is left as he is, since a run that
        nobody watches is no place to judge whose key it is.
    type: bool
    default: false
  state:
    description:
      - V(absent) removes the user's key, request and certificate from the host. The owner's records are removed with
        M(btmm.fleet.owner_store), as those of the host are.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Certificates are shown as fields; the key never.
seealso:
  - module: btmm.fleet.lkdc_principal
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Sign what users ask for
  btmm.fleet.user_certificate:
    user: "{{ item.name }}"
  loop: "{{ btmm_users }}"
"""

RETURN = r"""
asked:
  description: Whether the user has a request on the host. Without one nothing is done.
  returned: state is present
  type: bool
name:
  description: The user.
  returned: the user asked, with a key that is known if it has to be
  type: str
key_fingerprint:
  description: SHA-256 over the public key that the user asks for, hex; C(btmm login) shows him the same.
  returned: the user asked, with a key that is known if it has to be
  type: str
certificate:
  description: The certificate, PEM.
  returned: the user asked, with a key that is known if it has to be
  type: str
fingerprint:
  description: SHA-256 over the DER certificate, hex.
  returned: the user asked, with a key that is known if it has to be
  type: str
serial:
  description: The certificate's serial number, hex.
  returned: the user asked, with a key that is known if it has to be
  type: str
not_after:
  description: End of the certificate's life, ISO 8601 in UTC.
  returned: the user asked, with a key that is known if it has to be
  type: str
reason:
  description: Why a certificate was (in check mode, would be) made; empty when it was not.
  returned: the user asked, with a key that is known if it has to be
  type: str
"""

import pwd
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils.key_module import GIVEN, diff_of, remove
from ansible_collections.btmm.fleet.plugins.module_utils.user_files import UserFileError, UserFiles, acting_as


def present(module: AnsibleModule, files: UserFiles) -> dict[str, Any]:
    """Install what was given; return what the action plugin judges."""
    request, given = files.read(files.request), module.params["certificate"]
    changed = bool(given) and given != files.read(files.certificate)
    if changed and not module.check_mode:
        files.write(files.certificate, given.encode())
    return {
        "changed": changed,
        "asked": bool(request),
        "request": request,
        "certificate": files.read(files.certificate),
    }


def absent(module: AnsibleModule, files: UserFiles) -> dict[str, Any]:
    """Remove the files, then the folder if nothing else is in it."""
    diffs = remove(module, files.all())
    gone = {Path(diff["before_header"]) for diff in diffs}
    if files.folder.is_dir() and gone.issuperset(files.folder.iterdir()):
        diffs.append(diff_of(files.folder, "present\n", ""))
        if not module.check_mode:
            files.folder.rmdir()
    return {"changed": bool(diffs), "diff": diffs}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "zone": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **GIVEN,
        },
        supports_check_mode=True,
    )
    user, work = module.params["user"], present if module.params["state"] == "present" else absent
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        # A user of the zone need not be one of each host.
        module.exit_json(changed=False, asked=False)
    try:
        with acting_as(account):
            result = work(module, UserFiles.at(Path(account.pw_dir), module.params["zone"]))
    except (UserFileError, OSError) as error:
        module.fail_json(msg=f"{user}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
