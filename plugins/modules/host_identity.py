# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of its identity: make the key, show a request for it, install what the action plugin signed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_identity
short_description: A host's private key, and its certificate from the owner's CA
version_added: 0.1.0
extends_documentation_fragment: [btmm.fleet.issuing]
description:
  - A key is made on the host and never leaves it. Its certificate request goes to the controller, where an
    action plugin checks that the host holds the key, and signs a certificate with the owner's CA.
  - Names in the certificate come from the inventory, never from the request. A fleet host's certificate carries
    C(LABEL.ZONE), its address (prefix and the first 64 bits of SHA-256 over its public key), and that address as
    RFC 3779 address block.
  - A certificate is made anew when it is missing, damaged, expired, unknown to the owner, of another CA or key, has
    other names, or has less than a third of its life left.
  - A run that changes nothing runs the module once.
options:
  role:
    description: V(host) for a machine of the fleet; V(server) for a zone host (no ULA, O(addresses) instead).
    type: str
    choices: [host, server]
    default: host
  addresses:
    description: Further IP addresses to put into the certificate.
    type: list
    elements: str
    default: []
  key_path:
    description: Where the private key is, or will be made.
    type: path
    required: true
  certificate_path:
    description: Where the certificate goes.
    type: path
    required: true
  ca_path:
    description: Where the owner CA's certificate goes, both while it is changed (M(btmm.fleet.ca_rollover)).
    type: path
    required: true
  crl_path:
    description: Where the list of what the owner revoked goes (RFC 5280 section 5). Without it the host gets none.
    type: path
  seconds:
    description:
      - While the owner's CA is changed, O(ca_path) and O(crl_path) hold two each. strongSwan reads the first of a file;
        with this it finds the last in a file of its own, with C(+2) in its name, which is there always.
    type: bool
    default: false
  key_type:
    description:
      - V(ec) is ECDSA P-256, V(rsa) RSA with 3072 bits, which racoon needs at both ends of a tunnel.
      - A host whose key is of the other type gets a new one, and with it a new certificate and address.
    type: str
    choices: [ec, rsa]
    default: ec
  owner:
    description: Owner of the files.
    type: str
    default: root
  group:
    description: Group of the files.
    type: str
    default: root
  mode:
    description: Mode of the private key. The certificates are always C(0644).
    type: str
    default: "0600"
  state:
    description: V(absent) removes the files. The owner's records are removed with M(btmm.fleet.owner_store).
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Without a key, the address in the result is a stand-in.
  diff_mode:
    support: full
    description: Certificates are shown as fields; the key never.
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Give the host its key and certificate
  btmm.fleet.host_identity:
    key_path: /etc/swanctl/private/btmm-bob.members.example.pem
    certificate_path: /etc/swanctl/x509/btmm-bob.members.example.pem
    ca_path: /etc/swanctl/x509ca/btmm-bob.members.example.pem
  register: identity

- name: Give the zone host a certificate for DNS over TLS
  btmm.fleet.host_identity:
    role: server
    addresses: [203.0.113.10]
    key_path: /etc/bind/btmm/key.pem
    certificate_path: /etc/bind/btmm/cert.pem
    ca_path: /etc/bind/btmm/ca.pem
    group: bind
    mode: "0640"
"""

RETURN = r"""
name:
  description: The host's name in the zone, without final dot.
  returned: state is present
  type: str
  sample: imac.bob.members.example
ula:
  description: The host's address; empty for a server.
  returned: state is present
  type: str
  sample: fd46:9f2e:12f9:0:2d71:1642:b726:b044
certificate:
  description: The certificate, PEM.
  returned: state is present
  type: str
fingerprint:
  description: SHA-256 over the DER certificate, hex.
  returned: state is present
  type: str
serial:
  description: The certificate's serial number, hex.
  returned: state is present
  type: str
not_after:
  description: End of the certificate's life, ISO 8601 in UTC.
  returned: state is present
  type: str
reason:
  description: Why a certificate was (in check mode, would be) made; empty when it was not.
  returned: state is present
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils.key_module import (
    GIVEN,
    diff_of,
    install_given,
    install_seconds,
    mend_modes,
    remove,
    shown,
)
from ansible_collections.btmm.fleet.plugins.module_utils.keyfiles import KEY_TYPES, KeyFileError, KeyFiles


def present(module: AnsibleModule, files: KeyFiles) -> dict[str, object]:
    """Make the key if there is none of its type, install what was given, mend owners and modes."""
    diffs = []
    if not files.has_key():
        diffs.append(diff_of(files.key, "private key of another type\n" if files.key.exists() else "", files.new_key))
        if not module.check_mode:
            files.make_key()
    installed = [install_given(module, files), install_seconds(module, files)]
    mended, found = mend_modes(module, files), shown(files)
    if diffs and module.check_mode:
        found["request"] = ""  # the key that is there would go
    return {"changed": bool(diffs) or any(installed) or mended, "diff": diffs, **found}


def absent(module: AnsibleModule, files: KeyFiles) -> dict[str, object]:
    """Remove the files; their folders belong to other packages and stay."""
    diffs = remove(module, files.modes())
    return {"changed": bool(diffs), "diff": diffs}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "key_path": {"type": "path", "required": True, "no_log": False},
            "certificate_path": {"type": "path", "required": True},
            "ca_path": {"type": "path", "required": True},
            "crl_path": {"type": "path"},
            "seconds": {"type": "bool", "default": False},
            "key_type": {"type": "str", "choices": list(KEY_TYPES), "default": "ec", "no_log": False},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0600"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **GIVEN,
        },
        supports_check_mode=True,
    )
    key, certificate, ca = (Path(module.params[name]) for name in ("key_path", "certificate_path", "ca_path"))
    try:
        mode = int(module.params["mode"], 8)
    except ValueError:
        module.fail_json(msg=f"mode '{module.params['mode']}' is not octal; write it as \"0600\"")
    crl = Path(module.params["crl_path"]) if module.params["crl_path"] else None
    holder = (module.params["owner"], module.params["group"])
    kinds = (module.params["key_type"], module.params["seconds"])
    files = KeyFiles(key, certificate, ca, *holder, mode, crl, *kinds)
    try:
        module.exit_json(**(present if module.params["state"] == "present" else absent)(module, files))
    except KeyFileError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
