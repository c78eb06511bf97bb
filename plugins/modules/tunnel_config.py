# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one IPsec program for the tunnels of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tunnel_config
short_description: Configure a host's tunnels for strongSwan or racoon
version_added: 0.1.0
description:
  - Renders one description of a host's tunnels for strongSwan (C(swanctl.conf)) or racoon (C(racoon.conf), and policies
    for C(setkey)), judges what racoon would misunderstand, and installs the files. Loading them is left to a handler.
  - strongSwan needs no list of peers, since every host with a certificate of the owner may come in for its own address.
    racoon can't read address blocks of certificates, so there each peer is named. It signs by RSA only, so both ends
    of a tunnel with racoon need RSA keys, and certificates with their names as DNS names.
  - On Linux racoon can't carry IPv6 in IPv4, and the module says so instead of installing what loses every packet.
options:
  backend:
    description:
      - The program. V(back_to_my_mac) is the racoon of Mac OS X 10.6 to 10.9 with the settings of that time, which are
        weak (see O(weak)), and with the secret in the keychain.
    type: str
    choices: [strongswan, racoon, back_to_my_mac]
    default: strongswan
  path:
    description: The file that it reads, in a folder that is there; the folder itself with V(back_to_my_mac).
    type: path
    required: true
  policy_path:
    description: Where racoon's policies are kept, as input of C(setkey). Needed with V(racoon).
    type: path
  name: {description: Name of the connection. Needed with V(strongswan)., type: str}
  identity: {description: "The host's name in the zone, which is in its certificate.", type: str}
  ula: {description: The host's own ULA., type: str}
  prefix: {description: The zone's /48., type: str}
  port: {description: UDP port of IKE and ESP., type: int, default: 4500}
  certificate:
    description: File of the host's certificate, in swanctl's C(x509) or in O(directory).
    type: str
  key: {description: "File of the RSA key, for racoon.", type: str}
  authority:
    description:
      - File of the owner CA's certificate, in swanctl's C(x509ca) or in O(directory). For strongSwan several, with
        commas.
    type: str
  directory: {description: "Folder of the three files, for racoon.", type: path, default: /etc/racoon/certs}
  outer: {description: Own addresses at which racoon listens., type: list, elements: str, default: []}
  system:
    description: The host's kernel, for racoon. Default, the one that runs.
    type: str
    choices: [linux, bsd]
  peers:
    description: All peers; with V(strongswan) only those that are always configured, or have racoon.
    type: list
    elements: dict
    default: []
    suboptions:
      identity: {description: Its name in the zone., type: str, required: true}
      ula: {description: Its ULA., type: str, required: true}
      address:
        description:
          - Its outer address; without it the peer only calls. Between strongSwan and racoon an IPv6 one means UDP 500
            and ESP without UDP, so charon must have that port open.
        type: str
      port: {description: UDP port at that address., type: int, default: 4500}
      ike_version: {description: "V(1) where the peer has racoon.", type: int, choices: [1, 2], default: 2}
      start:
        description:
          - When strongSwan calls it. V(trap), at the first packet, needs the kernel's ESP, or strongSwan 5.9.11. With
            V(start) the tunnel is there from the beginning, and made again whenever it ends.
        type: str
        choices: [none, trap, start]
        default: trap
  algorithms:
    description:
      - What C(swanctl --list-algs) names on the host. With C(ML_KEM_768) among it, a hybrid key exchange comes first,
        which no quantum computer breaks; it refuses a connection with what it does not know.
    type: list
    elements: str
    default: []
  ike_proposals:
    description: For strongSwan's callers, instead of those of the collection.
    type: list
    elements: str
  esp_proposals: {description: Likewise; both or none., type: list, elements: str}
  dpd_delay:
    description: Seconds of silence before a caller is asked whether it lives; 0 never asks.
    type: int
    default: 120
  revocation:
    description: For strongSwan, what to do without a list of what the CA revoked; V(strict) lets nobody in.
    type: str
    choices: [relaxed, ifuri, strict]
    default: relaxed
  idle: {description: Seconds without traffic after which a caller's tunnel is closed., type: int, default: 600}
  weak:
    description:
      - Accept settings that can be broken today, as V(back_to_my_mac) has; in proposals 3DES, MD5, SHA-1 and groups of
        less than 2048 bits. The module warns of them each time.
    type: bool
    default: false
  state: {description: Whether the files should be there., type: str, choices: [present, absent], default: present}
attributes:
  check_mode: {support: full, description: "Says what would change. Files that racoon's names are not looked for then."}
  diff_mode: {support: full, description: A diff per file.}
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Let the fleet in by strongSwan, and call a host that has racoon
  btmm.fleet.tunnel_config:
    name: btmm-in-bob_members_example
    path: /etc/swanctl/conf.d/btmm-bob.members.example.conf
    identity: imac.bob.members.example
    ula: "fd12:3456:789a::1"
    prefix: "fd12:3456:789a::/48"
    certificate: btmm-bob.members.example.pem
    authority: btmm-bob.members.example.pem
    peers:
      - {identity: nas.bob.members.example, ula: "fd12:3456:789a::9", address: 203.0.113.20, ike_version: 1}

- name: Configure that host's racoon
  btmm.fleet.tunnel_config:
    backend: racoon
    path: /etc/racoon/racoon.conf
    policy_path: /etc/racoon/setkey.conf
    identity: nas.bob.members.example
    ula: "fd12:3456:789a::9"
    prefix: "fd12:3456:789a::/48"
    certificate: nas.pem
    key: nas.key
    authority: ca.pem
    outer: [203.0.113.20]
    peers:
      - {identity: imac.bob.members.example, ula: "fd12:3456:789a::1"}
  register: racoon

- name: Bring its kernel's policies to what the file says, and end no live tunnel
  ansible.builtin.command:
    cmd: setkey -c
    stdin: "{{ racoon.policy_changes }}"
  when: racoon.policy_changes | default('') | length > 0
"""

RETURN = r"""
changed_files:
  description: Files that were, or would be, written or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/swanctl/conf.d/btmm-bob.members.example.conf]
policy_changes:
  description:
    - Input for C(setkey -c) that brings the kernel from the policies of before to those of now, and touches no other.
      Should it get lost, C(setkey -FP) and C(setkey -f) with O(policy_path) do the same to all policies of the host.
  returned: with O(policy_path)
  type: str
"""

import platform
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.btmm.fleet.plugins.module_utils import ipsec, ipsec_racoon, tunnel_files
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic

PEER = {
    "identity": {"type": "str", "required": True},
    "ula": {"type": "str", "required": True},
    "address": {"type": "str"},
    "port": {"type": "int", "default": ipsec.TUNNEL_PORT},
    "ike_version": {"type": "int", "choices": [1, 2], "default": 2},
    "start": {"type": "str", "choices": list(ipsec.START), "default": "trap"},
}
ARGUMENTS = {
    "backend": {"type": "str", "choices": ["strongswan", "racoon", "back_to_my_mac"], "default": "strongswan"},
    "path": {"type": "path", "required": True},
    "policy_path": {"type": "path"},
    **{name: {"type": "str"} for name in ("name", "identity", "ula", "prefix", "certificate", "authority")},
    "key": {"type": "str", "no_log": False},  # the name of its file
    "port": {"type": "int", "default": ipsec.TUNNEL_PORT},
    "directory": {"type": "path", "default": "/etc/racoon/certs"},
    "outer": {"type": "list", "elements": "str", "default": []},
    "system": {"type": "str", "choices": ["linux", "bsd"]},
    "peers": {"type": "list", "elements": "dict", "default": [], "options": PEER},
    "algorithms": {"type": "list", "elements": "str", "default": []},
    **{name: {"type": "list", "elements": "str"} for name in ("ike_proposals", "esp_proposals")},
    "revocation": {"type": "str", "choices": list(ipsec.REVOCATION), "default": ipsec.REVOCATION[0]},
    "dpd_delay": {"type": "int", "default": ipsec.ANSWERER_DPD_S},
    "idle": {"type": "int", "default": ipsec.IDLE_S},
    "weak": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
NEEDED = {
    "strongswan": ("name", "certificate", "authority"),
    "racoon": ("policy_path", "certificate", "key", "authority", "outer"),
    "back_to_my_mac": (),
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ("identity", "ula", "prefix"))],
        required_together=[("ike_proposals", "esp_proposals")],
        supports_check_mode=True,
    )
    given = module.params
    missing = [name for name in NEEDED[given["backend"]] if not given[name]]
    if given["state"] == "present" and missing:
        module.fail_json(msg=f"{given['identity']}: backend {given['backend']} needs {', '.join(missing)}: give it")
    try:
        files = tunnel_files.Files({})
        if given["state"] == "present":
            # A dry run may come before the task that installs the certificates.
            files = tunnel_files.rendered(given, look=not module.check_mode)
        for told in files.warnings:
            module.warn(told)
        wanted = files.contents
        before = tunnel_files.held(given, wanted)
        changed = [path for path in {**before, **wanted} if before.get(path) != wanted.get(path)]
        for path in changed if not module.check_mode else ():
            if path in wanted:
                write_atomic(Path(path), wanted[path].encode(), 0o644)
            else:
                Path(path).unlink()
    except ValueError as error:  # also RacoonError and InvalidTunnel
        module.fail_json(msg=f"{platform.node()}: {given['path']} was not installed: {error}")
    except OSError as error:
        where = f"{platform.node()}: no access to {Path(error.filename).parent}"
        module.fail_json(msg=f"{where} ({error.strerror}): make it first, or become root")
    result: dict[str, Any] = {
        "diff": [
            {"before_header": path, "after_header": path, "before": before.get(path, ""), "after": wanted.get(path, "")}
            for path in changed
        ]
    }
    if policies := given["policy_path"]:
        result["policy_changes"] = ipsec_racoon.difference(before.get(policies, ""), wanted.get(policies, ""))
    module.exit_json(changed=bool(changed), changed_files=changed, **result)


if __name__ == "__main__":
    main()
