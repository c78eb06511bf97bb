# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and client configuration of a fleet: real SSH, through the host's namespace instead of a network."""

import re
from pathlib import Path

from lab.fabric import host_netns
from lab.run import run


class SshFiles:
    """The fleet's SSH files in its folder; nothing else may write them."""

    def __init__(self, folder: Path, fleet: str) -> None:
        self.folder = folder
        self.fleet = fleet
        self.config = folder / "ssh_config"
        self._known = folder / "known_hosts"

    def client_key(self) -> str:
        """Public key of the fleet's operator, made once."""
        return self._pair("id_ed25519", f"lab-{self.fleet}")

    def host_key(self, host: str) -> tuple[str, str]:
        """Private and public key of a host, made once."""
        public = self._pair(f"host-{host}", host)
        return (self.folder / f"host-{host}").read_text(), public

    def write_config(self) -> None:
        """Write ssh_config, and known_hosts from the host keys there are."""
        proxy = f"nsenter --net=/run/netns/{host_netns(self.fleet, '%h')} nc 127.0.0.1 22"
        self.config.write_text(
            "Host *\n"
            "  User root\n"
            f"  IdentityFile {_quoted(self.folder / 'id_ed25519')}\n"
            "  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {_quoted(self._known)}\n"
            "  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
            "  LogLevel ERROR\n"
            f"  ProxyCommand {proxy}\n"
        )
        lines = (f"{path.stem.removeprefix('host-')} {_key(path)}\n" for path in sorted(self.folder.glob("host-*.pub")))
        self._known.write_text("".join(lines))

    def command(self, host: str, *words: str) -> list[str]:
        """Command that runs words on the host, or opens a shell there."""
        return ["ssh", "-F", str(self.config), host, *words]

    def _pair(self, name: str, comment: str) -> str:
        private = self.folder / name
        if not private.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(private)])
        return private.with_name(f"{name}.pub").read_text()


def _key(path: Path) -> str:
    return " ".join(path.read_text().split()[:2])


def _quoted(path: Path) -> str:
    # ssh_config expands % in file names.
    return '"' + re.sub("%", "%%", str(path)) + '"'
