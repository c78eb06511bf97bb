# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins share: options that default to the fleet's inventory variables, and clean errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.btmm.fleet.plugins.module_utils.names import InvalidName, check_label, parse_zone
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from ansible_collections.btmm.fleet.plugins.plugin_utils.offers import offered

# Options that every action with the owner's secrets takes; a role may omit them (see `inventory_default`).
OWNER_OPTIONS: dict[str, dict[str, Any]] = {
    "zone": {"type": "str"},
    "owner_dir": {"type": "path"},
    "passphrase": {"type": "str", "no_log": True},
}
LABEL_OPTION: dict[str, dict[str, Any]] = {"label": {"type": "str"}}


class FleetAction(ActionBase):  # type: ignore[misc]
    """An action with an argument spec. Subclasses set ``OPTIONS`` and write ``perform``."""

    OPTIONS: ClassVar[dict[str, dict[str, Any]]] = {}
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the options, fill in the inventory's defaults, run ``perform``; library errors become one sentence."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        _, self.options = self.validate_argument_spec(argument_spec=self.OPTIONS)
        for name in ("zone", "owner_dir", "passphrase", "label"):
            if name in self.OPTIONS and self.options.get(name) is None:
                self.options[name] = self.inventory_default(name)
        try:
            if "zone" in self.OPTIONS:
                self.options["zone"] = parse_zone(self._needed("zone", "btmm_zone")).to_text(omit_final_dot=True)
            if "label" in self.OPTIONS:
                self.options["label"] = check_label(self._needed("label", "btmm_label"))
            result.update(self.perform())
        except (OwnerError, InvalidName) as error:
            raise AnsibleActionFail(f"{self.host}: {error}") from error
        return result

    def perform(self) -> dict[str, Any]:
        """Do the work; ``self.options`` and ``self.task_vars`` are set. Returns what joins the result."""
        raise NotImplementedError

    @property
    def host(self) -> str:
        """The inventory name of the host that the task is for (not of the one it is delegated to)."""
        return str(self.task_vars["inventory_hostname"])

    @property
    def checking(self) -> bool:
        """Whether this is check mode."""
        return bool(self._task.check_mode)

    @property
    def diffing(self) -> bool:
        """Whether a diff is wanted."""
        return bool(self._task.diff)

    def store(self) -> OwnerStore:
        """Open the owner's state of the zone: planned only, in check mode."""
        directory = Path(str(self.options["owner_dir"])).expanduser().resolve()
        return OwnerStore(
            directory, self.options["zone"], str(self.options["passphrase"] or ""), planning=self.checking
        )

    def inventory_default(self, name: str) -> Any:  # noqa: ANN401 - inventory values are of any type
        """Return the fleet-wide value for an option that the task leaves out; None when the inventory has none."""
        variable = "btmm_owner_passphrase" if name == "passphrase" else f"btmm_{name}"
        value = self.variable(variable)
        if value is None and name == "owner_dir":
            return str(Path(str(self.variable("inventory_dir") or ".")) / ".btmm")
        if value is None and name == "label":
            return self.variable("inventory_hostname_short")
        return value

    def label_of(self, host: str) -> str:
        """Return the label of a host of the inventory."""
        return check_label(str(self.variable("btmm_label", host) or self.variable("inventory_hostname_short", host)))

    def variable(self, name: str, host: str | None = None) -> Any:  # noqa: ANN401 - as above
        """Return a variable of this host, or of another one of the inventory, with its templates resolved."""
        source = self.task_vars if host is None else self.task_vars["hostvars"][host]
        value = source.get(name)
        return None if value is None else self._templar.template(value)

    def services_of(self, host: str) -> list[dict[str, Any]]:
        """Return what a host of the inventory offers."""
        return offered(lambda name: self.variable(name, host))

    def _needed(self, option: str, variable: str) -> str:
        value = self.options[option]
        if not value:
            raise OwnerError(f"'{option}' is not set; set {variable} in the inventory")
        return str(value)
