# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a host of an image: the files it gets before it boots."""

import uuid

from lab.archive import File
from lab.router import SYSTEM, WANTS, router_files
from lab.topology import Host


def host_files(host: Host, fleet: str, operator: str, host_key: tuple[str, str]) -> dict[str, File]:
    """Files of a host by path below /; operator is the public key that may log in, host_key private and public."""
    files = {
        "etc/hosts": File(f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n::1 localhost ip6-localhost ip6-loopback\n"),
        "etc/ssh/ssh_host_ed25519_key": File(host_key[0], 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": File(host_key[1]),
        # Without one systemd takes this for a first boot, and enables every unit the image has disabled.
        "etc/machine-id": File(f"{uuid.uuid4().hex}\n", 0o444),
        "root/.ssh/authorized_keys": File(operator, 0o600),
    }
    if host.page:
        files["var/www/html/index.html"] = File(f"This is {host.name}.\n")
        files[f"{WANTS}/nginx.service"] = File(link=f"{SYSTEM}/nginx.service")
    if host.kind == "router":
        files |= router_files(host, fleet)
    return files
