# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts have on their disks."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from string import Template
from typing import Any

from ansible_collections.btmm.fleet.plugins.module_utils import ipsec, ipsec_swanctl

from tests.certificates import PREFIX, Owner
from tests.kernel.hosts import HOSTS, ZONE, Host, other

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
CALLS = "swanctl/conf.d/to-peer.conf"  # the watcher's part
# Beside what the role says: where there is no journal, and without trying each cipher first, which is slow where the
# processor is emulated.
CHARON = """charon-systemd {
  filelog {
    file {
      path = /run/charon.log
      flush_line = yes
      default = 1
    }
  }
  plugins {
    test-vectors {
      load = no
    }
  }
}
"""


def render_for_racoon(folder: Path, data_path: str) -> None:
    """Write what the role would install instead if each host had the other for a peer with racoon, over IPv6.

    The watcher has nothing to do with such peers.
    """
    inventory = {}
    for host in HOSTS:
        peer = other(host)
        entry = {"identity": peer.identity, "ula": str(peer.ula), "address": peer.outer6, "ike_version": 1}
        inventory[host.label] = {
            **_variables(folder, host, data_path),
            "render_ike_port": 500,
            "render_peers": [entry],
        }
    _play(folder, inventory)
    for host in HOSTS:
        (folder / host.label / "etc" / CALLS).write_text("")


def render(folder: Path, data_path: str) -> None:
    """Write each host's /etc into a folder of its name, and the routers' rules beside them.

    These are certificates, what the role would install, and the tunnel to the other host as the watcher would make it,
    but opened by a trap: the hosts have no daemon that sees packets without a tunnel.

    Args:
        folder: an empty one.
        data_path: what the role preflight found.
    """
    owner = Owner(folder, ZONE)
    inventory = {}
    for host in HOSTS:
        etc = folder / host.label / "etc"
        issued = owner.host(host.label, host.number)
        files = {"private": issued.key, "x509": issued.certificate, "x509ca": issued.ca, "x509crl": issued.crl}
        for kind, file in files.items():
            (etc / "swanctl" / kind).mkdir(parents=True)
            (etc / "swanctl" / kind / f"btmm-{ZONE}.pem").write_bytes(file.read_bytes())
        (etc / "swanctl" / "x509ca" / f"btmm-{ZONE}+2.pem").write_bytes(issued.ca.read_bytes())
        inventory[host.label] = _variables(folder, host, data_path)
    _play(folder, inventory)
    for host in HOSTS:
        peer = other(host)
        local = ipsec.Local(host.identity, host.ula, PREFIX)
        remote = ipsec.Remote(peer.identity, peer.ula, IPv4Address(peer.wan), peer.port)
        tunnel = replace(ipsec.outbound(local, remote, start="trap"), revocation="strict")
        text = ipsec_swanctl.text({"to-peer": tunnel}, f"btmm-{ZONE}.pem", f"btmm-{ZONE}.pem")
        etc = folder / host.label / "etc"
        (etc / CALLS).write_text(text)
        (etc / "strongswan.d" / "rehearsal.conf").write_text(CHARON)
    nat = Template((PROJECT / "lab" / "router" / "nat.nft").read_text()).substitute(flags=" random")
    (folder / "nat.nft").write_text(nat)
    (folder / "watch.nft").write_text((HERE / "watch.nft").read_text())


def _variables(folder: Path, host: Host, data_path: str) -> dict[str, Any]:
    return {
        "folder": str(folder / host.label),
        "btmm_zone": ZONE,
        "tunnel_ula": str(host.ula),
        "tunnel_prefix": str(PREFIX),
        "tunnel_data_path": data_path,
    }


def _play(folder: Path, inventory: dict[str, dict[str, Any]]) -> None:
    path = folder / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": inventory}}))
    play = ["ansible-playbook", "-i", str(path), str(HERE / "render.yml")]
    done = subprocess.run(play, cwd=PROJECT, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
