# SPDX-License-Identifier: GPL-3.0-or-later
"""What Back to My Mac itself wrote for racoon (Mac OS X 10.6 and later), as documentation.

A passer-by who hears one exchange can guess the shared secret at leisure (aggressive mode), and the group has 1024 bits
(RFC 8247 forbids it). Nothing of this is installed by any role.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from .ipsec import InvalidTunnel

if TYPE_CHECKING:
    from .ipsec import Local, Remote

_MARK = "# BackToMyMac"  # by this first line it told its own files from others

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


class WeakDialect(UserWarning):
    """Files that are rendered break today's rules on cryptography."""


def called_file(local: Local, *, weak: bool) -> str:
    """Return ``anonymous.conf``, by which a Mac let others come in; Apple's racoon only reads it.

    Raises:
        InvalidTunnel: `weak` was not asked for.
    """
    _admit(local, weak=weak)
    secret = f'  shared_secret keychain_by_id "dns:{local.identity}";'
    return f"{_MARK}\nremote anonymous {{\n{secret}\n{_PHASE1}\n}}\nsainfo anonymous {_PHASE2}\n"


def caller_file(local: Local, remote: Remote, *, weak: bool) -> str:
    """Return ``<address>.<port>.conf``, by which a Mac called another; Apple's racoon only reads it.

    Raises:
        InvalidTunnel: `weak` was not asked for, or the peer can't be called.
    """
    _admit(local, weak=weak)
    if remote.address is None:
        raise InvalidTunnel(f"{remote.identity} can't be called: nothing says where it is; give its address and port")
    port = f" [{remote.port}]" if remote.address.version == 4 else ""
    own = f'  shared_secret keychain "dns:{local.identity}";\n  my_identifier user_fqdn "dns:{local.identity}";'
    idle = "  disconnect_on_idle idle_timeout 600 idle_direction idle_outbound;"
    ends = (f"address {local.ula} any", f"address {remote.ula} any")
    sainfos = "\n".join(f"sainfo {' '.join(pair)} {_PHASE2}" for pair in (ends, ends[::-1]))
    return f"{_MARK}\nremote {remote.address}{port} {{\n{own}\n{idle}\n{_PHASE1}\n}}\n{sainfos}\n"


def _admit(local: Local, *, weak: bool) -> None:
    if not weak:
        raise InvalidTunnel(
            f"{local.identity}: Back to My Mac's own settings are not safe any more (aggressive mode, group 2); take "
            "certificates, or ask for the weak ones"
        )
    warnings.warn("aggressive mode with a shared secret and group 2 can be broken by who listens", WeakDialect, 3)
