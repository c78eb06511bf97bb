# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of `plugin_utils/issuing.py` and of what it adds to its modules' options."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module whose certificate is signed with the owner's CA."""

    DOCUMENTATION = r"""
options:
  zone: {description: The owner's zone. Default C(btmm_zone)., type: str}
  owner_dir:
    description: Folder of the owner's state on the controller. Default C(btmm_owner_dir), or C(.btmm) at the inventory.
    type: path
  passphrase: {description: Passphrase of the owner's secrets. Default C(btmm_owner_passphrase)., type: str}
  label:
    description: The host's label in the zone. Default C(btmm_label), or the inventory name up to its first dot.
    type: str
  days: {description: Life of a certificate., type: int, default: 398}
  renew:
    description: Whether a certificate is made though the present one serves. The key stays, and what is named for it.
    type: bool
    default: false
  certificate: {description: Set by the action plugin; the signed certificate., type: str}
  ca_certificate: {description: Set by the action plugin; the owner CA., type: str}
  crl: {description: Set by the action plugin; the owner CA's revocation list., type: str}
"""
