# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with a Local KDC that is a folder, and its owner: actions and modules run for real, in this process."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.btmm.fleet.plugins.action import lkdc_realm, owner_store
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
from ansible_collections.btmm.fleet.plugins.modules import lkdc_principal, lkdc_principal_info
from ansible_collections.btmm.fleet.plugins.modules import lkdc_realm as module

from tests.local_kdc import ZONE, Client, Owner, running
from tests.unit.acting import run_action
from tests.unit.running import run_module

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSPHRASE = "correct horse"
NAME = f"imac.{ZONE}"


class Host:
    """A host that is a folder, its owner, and clients."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], port: int) -> None:
        self.place, self.capsys, self.port = place, capsys, port
        self.directory, self.data = place / "etc" / "kdc", place / "var" / "kdc"
        self.keytab = place / "krb5.keytab"
        self.sent: list[dict[str, Any]] = []
        self.variables = {
            "inventory_hostname": "imac", "inventory_hostname_short": "imac", "inventory_dir": str(place),
            "btmm_zone": ZONE, "btmm_owner_passphrase": PASSPHRASE,
        }  # fmt: skip
        run_action(owner_store.ActionModule, {}, self.variables)

    @property
    def owner(self) -> Owner:
        store = OwnerStore(self.place / ".btmm", ZONE, PASSPHRASE)
        return Owner(store.ca, store._ca_key)

    def make(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        self.sent = []

        def on_host(name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
            assert name == "btmm.fleet.lkdc_realm"
            self.sent.append(dict(sent))
            return run_module(module.main, sent, self.capsys, check=check)

        arguments = {
            "directory": str(self.directory), "data": str(self.data), "listen": ["127.0.0.1"], "port": self.port,
            **options,
        }  # fmt: skip
        return run_action(lkdc_realm.ActionModule, arguments, self.variables, on_host, check=check)

    def mint(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {"directory": str(self.directory), **self.asked(**options)}
        return run_module(lkdc_principal.main, arguments, self.capsys, check=check)

    def asked(self, **options: Any) -> dict[str, Any]:
        """What the host's principals shall be."""
        return {"zone": ZONE, "name": NAME, "keytab": str(self.keytab), "users": ["alice"], **options}

    def info(self) -> dict[str, Any]:
        arguments = {"directory": str(self.directory), "keytab": str(self.keytab)}
        return run_module(lkdc_principal_info.main, arguments, self.capsys)

    def serving(self, realm: str) -> AbstractContextManager[None]:
        return running(self.directory, realm, self.port)

    def client(self, realm: str) -> Client:
        return Client(self.place, realm, self.port, self.directory / "ca.pem")

    def identity(self, user: str = "alice") -> str:
        return self.owner.user(self.place, user)

    def octets(self) -> dict[str, str]:
        """Every file of the host, as hashes."""
        places = (self.directory, self.data, self.keytab.parent)
        files = {path for place in places if place.exists() for path in place.iterdir() if path.is_file()}
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
