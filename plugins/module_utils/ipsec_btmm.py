# SPDX-License-Identifier: GPL-3.0-or-later
"""What Back to My Mac itself wrote for racoon (Mac OS X 10.6 and later), for Macs that still have it, and to compare.

A passer-by who hears one exchange can guess the shared secret at leisure (aggressive mode), and the group has 1024 bits
(RFC 8247 forbids it). No role installs any of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ipsec import InvalidTunnel, check_peers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ipsec import Local, Remote

CALLED_FILE = "anonymous.conf"
WEAKNESS = "aggressive mode with a shared secret and group 2 can be broken by who listens: take certificates"

_MARK = "# BackToMyMac"  # by this first line it told its own files from others
_IDLE = "disconnect_on_idle idle_timeout 600 idle_direction idle_outbound"

_PHASE1 = """\
  exchange_mode aggressive;
  doi ipsec_doi;
  situation identity_only;
  verify_identifier off;
  generate_policy on;
  nonce_size 16;
  lifetime time 15 min;
  initial_contact on;
  support_proxy on;
  nat_traversal force;
  proposal_check claim;
  proposal {
    encryption_algorithm aes;
    hash_algorithm sha1;
    authentication_method pre_shared_key;
    dh_group 2;
    lifetime time 15 min;
  }"""
_PHASE2 = """{
  pfs_group 2;
  lifetime time 10 min;
  encryption_algorithm aes;
  authentication_algorithm hmac_sha1;
  compression_algorithm deflate;
}"""


def files(local: Local, peers: Sequence[Remote], *, weak: bool) -> dict[str, str]:
    """Return what a Mac wrote, by the names of the files; Apple's racoon only reads it.

    Raises:
        InvalidTunnel: `weak` was not asked for, or two hosts are one.
    """
    if not weak:
        raise InvalidTunnel(
            f"{local.identity}: Back to My Mac's own settings are not safe any more (aggressive mode, group 2); take "
            "certificates, or ask for the weak ones"
        )
    check_peers(local, peers)
    # The owner's one secret stands in the keychain under the zone's name, and a caller names it.
    secret = f'"dns:{local.identity.partition(".")[2]}"'
    found = {CALLED_FILE: _file("anonymous", [f"shared_secret keychain_by_id {secret}"], ["anonymous"])}
    for peer in peers:
        if peer.address is None:
            continue
        own = [f"shared_secret keychain {secret}", f"my_identifier user_fqdn {secret}", _IDLE]
        ends = (f"address {local.ula} any", f"address {peer.ula} any")
        with_port = peer.address.version == 4
        found[f"{peer.address}.{peer.port}.conf" if with_port else f"{peer.address}.conf"] = _file(
            f"{peer.address} [{peer.port}]" if with_port else str(peer.address),
            own,
            [" ".join(pair) for pair in (ends, ends[::-1])],
        )
    return found


def is_ours(text: str) -> bool:
    """Say whether a file is one of these."""
    return text.startswith(f"{_MARK}\n")


def _file(index: str, statements: Sequence[str], pairs: Sequence[str]) -> str:
    own = "".join(f"  {statement};\n" for statement in statements)
    sainfos = "".join(f"sainfo {pair} {_PHASE2}\n" for pair in pairs)
    return f"{_MARK}\nremote {index} {{\n{own}{_PHASE1}\n}}\n{sainfos}"
