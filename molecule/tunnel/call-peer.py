#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call a peer as the watcher would, by swanctl; fails when the peer does not let us in.

call-peer.py OWN-ID PEER-ID OUTER-ADDRESS OWN-NETWORK PEER-ULA [CERTIFICATE]
"""

import subprocess
import sys
from pathlib import Path

CONNECTION = """
connections {{
  rehearsal {{
    version = 2
    remote_addrs = {outer}
    remote_port = 4500
    local_port = 4500
    encap = yes
    local {{
      auth = pubkey
      certs = {certificate}
      id = {own_id}
    }}
    remote {{
      auth = pubkey
      id = {peer_id}
    }}
    children {{
      rehearsal {{
        local_ts = {own}
        remote_ts = {peer}/128
      }}
    }}
  }}
}}
"""


def swanctl(*arguments: str) -> int:
    """Run swanctl and return its exit code."""
    return subprocess.run(["swanctl", *arguments], check=False).returncode


def main() -> int:
    """Load the connection, call, forget the connection."""
    own_id, peer_id, outer, own, peer, *given = sys.argv[1:]
    path = Path("/etc/swanctl/conf.d/rehearsal.conf")
    certificate = given[0] if given else f"btmm-{own_id.partition('.')[2]}.pem"
    path.write_text(
        CONNECTION.format(certificate=certificate, own_id=own_id, peer_id=peer_id, outer=outer, own=own, peer=peer)
    )
    try:
        swanctl("--load-conns")
        return swanctl("--initiate", "--child", "rehearsal", "--timeout", "5")
    finally:
        path.unlink()
        swanctl("--load-conns")


if __name__ == "__main__":
    sys.exit(main())
