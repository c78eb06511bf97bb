# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a host its key and certificate: the key is made on the host, the certificate signed here with the owner's CA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.keyfiles import KEY_TYPES
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.plugin_utils.issuing import ISSUING_OPTIONS, IssuingAction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

HOST_OPTIONS: dict[str, dict[str, Any]] = {
    "key_path": {"type": "path", "required": True},
    "certificate_path": {"type": "path", "required": True},
    "ca_path": {"type": "path", "required": True},
    "crl_path": {"type": "path"},
    "seconds": {"type": "bool", "default": False},
    "key_type": {"type": "str", "choices": list(KEY_TYPES), "default": "ec"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0600"},
}


class ActionModule(IssuingAction[x509.Profile]):
    """See the module's documentation."""

    MODULE = "btmm.fleet.host_identity"
    HOST_OPTIONS = HOST_OPTIONS
    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **ISSUING_OPTIONS,
        **HOST_OPTIONS,
        "role": {"type": "str", "choices": ["host", "server"], "default": "host"},
        "addresses": {"type": "list", "elements": "str", "default": []},
    }

    @property
    def rsa_keys(self) -> bool:
        """Whether the inventory wants an RSA key; else none is taken."""
        return bool(self.options["key_type"] == "rsa")

    def profile(self, store: OwnerStore, key_der: bytes | None, _: Mapping[str, Any]) -> x509.Profile:
        """Return what the host's certificate shall say; names come from the inventory alone."""
        is_host = self.options["role"] == "host"
        return x509.Profile(
            name=f"{self.options['label']}.{store.zone}",
            ula=store.address(key_der or self.stand_in()) if is_host else None,
            addresses=self._addresses(),
            days=self.options["days"],
            rsa_keys=self.rsa_keys,
        )

    def told(self, profile: x509.Profile, _: Mapping[str, Any], /, *, installed: bool) -> dict[str, Any]:  # noqa: ARG002
        """Return the address."""
        return {"ula": str(profile.ula or "")}

    def certificate_path(self) -> str:
        """Return where the certificate is on the host."""
        return str(self.options["certificate_path"])

    def _addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        try:
            return tuple(x509.parse_address(text) for text in self.options["addresses"])
        except ValueError as error:
            raise OwnerError(f"{error}; correct 'addresses'") from None
