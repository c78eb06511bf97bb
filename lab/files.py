# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a host of an image: the files it gets before it boots."""

import io
import string
import tarfile
import time
import uuid
from dataclasses import dataclass

from lab.paths import LAB
from lab.topology import Host

_WANTS = "etc/systemd/system/multi-user.target.wants"
_SYSTEM = "/lib/systemd/system"


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, or what it links to."""

    content: str = ""
    mode: int = 0o644
    link: str | None = None


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
        files[f"{_WANTS}/nginx.service"] = File(link=f"{_SYSTEM}/nginx.service")
    if host.kind == "router":
        files |= _router_files(host, fleet)
    return files


def _router_files(host: Host, fleet: str) -> dict[str, File]:
    lan = next(interface.address.network for interface in host.interfaces if interface.name == "lan")
    template = string.Template((LAB / "router" / "miniupnpd.conf").read_text())
    unit = "lab-miniupnpd.service"
    return {
        "etc/nftables.conf": File((LAB / "router" / "nat.nft").read_text(), 0o755),
        "etc/systemd/system/sysinit.target.wants/nftables.service": File(link=f"{_SYSTEM}/nftables.service"),
        "etc/sysctl.d/lab-router.conf": File((LAB / "router" / "forward.conf").read_text()),
        "etc/miniupnpd/lab.conf": File(
            template.substitute(lan=lan, uuid=uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.{fleet}"))
        ),
        f"etc/systemd/system/{unit}": File((LAB / "router" / unit).read_text()),
        f"{_WANTS}/{unit}": File(link=f"/etc/systemd/system/{unit}"),
    }


def archive(files: dict[str, File]) -> bytes:
    """The files as a tar archive, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, file in files.items():
            info = tarfile.TarInfo(path)
            info.mode = file.mode
            info.mtime = int(time.time())
            data = file.content.encode()
            if file.link is None:
                info.size = len(data)
            else:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
