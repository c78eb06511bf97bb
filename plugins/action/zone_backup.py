# SPDX-License-Identifier: GPL-3.0-or-later
"""Back up and restore the zone and the owner's state; see the module documentation of the same name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.btmm.fleet.plugins.module_utils import sealed
from ansible_collections.btmm.fleet.plugins.module_utils.atomic import write_atomic
from ansible_collections.btmm.fleet.plugins.module_utils.names import reverse_zone
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError
from ansible_collections.btmm.fleet.plugins.module_utils.owner_files import owner_errors
from ansible_collections.btmm.fleet.plugins.plugin_utils.action import OWNER_OPTIONS, FleetAction

if TYPE_CHECKING:
    from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore

DIRECTORIES = ["/etc/bind/btmm", "/var/lib/bind/btmm-signing"]


class ActionModule(FleetAction):
    """Seal on the controller what the module reads on the host, and the other way round."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        **OWNER_OPTIONS,
        "file": {"type": "path", "required": True},
        "forward_path": {"type": "path", "default": "/var/lib/bind/btmm-forward.db"},
        "reverse_path": {"type": "path", "default": "/var/lib/bind/btmm-reverse.db"},
        "directories": {"type": "list", "elements": "path", "default": DIRECTORIES},
        "state": {"type": "str", "choices": ["saved", "restored"], "default": "saved"},
    }

    def perform(self) -> dict[str, Any]:
        """Save or restore."""
        path = Path(self.options["file"])
        return self._saved(path) if self.options["state"] == "saved" else self._restored(path)

    def _saved(self, path: Path) -> dict[str, Any]:
        store = self.store()
        store.unlock()
        found = self._on_host(store)
        if found.get("failed"):
            return self._told(found)
        content = {"zone": store.zone, "host": found["archive"], "owner": store.export()}
        changed = not path.exists() or self._open(path, store.zone) != content
        if changed and not self.checking:
            text = json.dumps(content, sort_keys=True).encode()
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_atomic(path, sealed.seal(text, self._passphrase, _context(store.zone)))
            except OSError as error:
                raise OwnerError(f"the backup {path} cannot be written ({error}); name another place") from None
        return {"changed": changed, "file": str(path), "digest": found["digest"], "serials": found["serials"]}

    def _restored(self, path: Path) -> dict[str, Any]:
        store = self.store()
        if not path.exists():
            raise OwnerError(f"there is no backup {path}; name the file that playbooks/backup.yml wrote")
        content = self._open(path, store.zone)
        imported = store.restore(content["owner"])
        if imported and self.checking:
            return {"changed": True, "file": str(path)}
        done = self._on_host(self.store(), archive=content["host"])
        if done.get("failed"):
            return self._told(done)
        return {"changed": imported or done["changed"], "file": str(path), "digest": done["digest"]}

    @property
    def _passphrase(self) -> str:
        return str(self.options["passphrase"] or "")

    def _open(self, path: Path, zone: str) -> dict[str, Any]:
        try:
            with owner_errors(path):
                content: dict[str, Any] = json.loads(sealed.unseal(path.read_bytes(), self._passphrase, _context(zone)))
        except (OSError, ValueError) as error:
            if isinstance(error, OwnerError):
                raise
            raise OwnerError(f"the backup {path} cannot be read ({error}); take another one") from None
        return content

    def _on_host(self, store: OwnerStore, **more: str) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="btmm.fleet.zone_archive",
            module_args={
                "zones": [
                    {"name": store.zone, "path": self.options["forward_path"]},
                    {"name": str(reverse_zone(store.prefix)), "path": self.options["reverse_path"]},
                ],
                "directories": self.options["directories"],
                "key_file": f"{self.options['directories'][0]}/admin.key",
                **more,
            },
            task_vars=self.task_vars,
        )
        return result

    def _told(self, result: dict[str, Any]) -> dict[str, Any]:
        return {"failed": True, "msg": f"{self.host}: {result.get('msg', 'the module failed')}"}


def _context(zone: str) -> str:
    return f"btmm backup {zone}"
