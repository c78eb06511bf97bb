# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone as inventory: whoever offers a service is a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: dnssd
short_description: Hosts of a zone, found by browsing it (DNS-SD)
version_added: 0.2.0
author:
  - The btmm.fleet maintainers
description:
  - Browses the zone (RFC 6763) and makes a host of everything that offers a service, with a group for each type of
    service, C(ssh_tcp) for C(_ssh._tcp). A host that offers nothing cannot be found so.
  - On a host of the fleet only O(zone) is needed; the watcher's stub answers. Elsewhere O(server) is asked over TLS,
    and O(key_file) opens a private zone.
  - Every host has C(ansible_host), C(ansible_port) when its ssh has another port than 22, and the variables
    C(btmm_label), C(btmm_name), C(btmm_zone), C(btmm_title), C(btmm_model), C(btmm_realm), C(btmm_ula) and
    C(btmm_services), a list of C({type, port, txt}); those without a value are none.
  - Configuration files end in C(.btmm.yml) or C(.btmm.yaml).
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin: {description: This plugin., type: str, required: true, choices: [btmm.fleet.dnssd]}
  zone: {description: The owner's zone., type: str, required: true}
  server:
    description:
      - Name or address of a server of the zone, asked over TLS. Without it, the stub of this host's watcher is asked.
      - A name has to be one that resolves here; when the zone is private, give the address.
    type: str
  port: {description: "Its port; by default 853, and 53 for the stub.", type: int}
  server_name: {description: Name that the server's certificate must bear. By default O(server)., type: str}
  ca:
    description: PEM file of the CA that issued the server's certificate. By default the CAs that this machine trusts.
    type: path
  key_file:
    description: File with the TSIG key as a BIND C(key) statement; with O(key_name), with its secret in base64 only.
    type: path
  key_name: {description: Name of the key in O(key_file). Of a host's key it is the host's name in the zone., type: str}
  key_algorithm:
    description: Algorithm of a key that is given by O(key_name).
    type: str
    choices: [hmac-sha256, hmac-sha384, hmac-sha512]
    default: hmac-sha256
  ansible_host:
    description:
      - How hosts are connected to. By C(name), a host of the fleet opens the tunnel when the name is looked up.
      - With C(ula), the address has to be reachable; asked for at a stub, it opens tunnels to all hosts at once.
    type: str
    choices: [name, ula]
    default: name
  inventory_name:
    description: Whether a host's inventory name is its C(label) or its whole C(name) (for several zones).
    type: str
    choices: [label, name]
    default: label
  timeout: {description: Seconds to wait for the connection and for each answer., type: float, default: 10.0}
"""

EXAMPLES = r"""
# fleet.btmm.yml; on a host of the fleet plugin and zone are enough.
# Elsewhere: zone and key, and the private zone's server by its address.
plugin: btmm.fleet.dnssd
zone: bob.members.example
server: 203.0.113.10
ca: ~/.config/btmm/ca.pem
key_file: ~/.config/btmm/macbook.key
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/btmm-fleet/inventory
keyed_groups:
  - {key: btmm_model, prefix: model}
compose:
  ansible_user: "'root'"
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.btmm.fleet.plugins.module_utils import browse, local_names, names
from ansible_collections.btmm.fleet.plugins.module_utils.connection import open_session
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

if TYPE_CHECKING:
    import dns.name

STUB_PORT = 53
SSH = "_ssh._tcp"
SSH_PORT = 22


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]
    """See the documentation above."""

    NAME = "btmm.fleet.dnssd"

    def verify_file(self, path: str) -> bool:
        """Tell whether the file's name is one of ours."""
        return bool(super().verify_file(path)) and path.endswith((".btmm.yml", ".btmm.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: ANN401 - Ansible's
        """Fill the inventory, from the cache when that is allowed and holds it."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        self.load_cache_plugin()
        key = self.get_cache_key(path)
        caching = self.get_option("cache")
        hosts = self._cache.get(key) if caching and cache else None
        if hosts is None:
            hosts = self._browse(path)
            if caching:
                self._cache[key] = hosts
        for host in hosts:
            self._add(host)

    def _browse(self, path: str) -> list[dict[str, Any]]:
        """Return the hosts' variables, in the plain form that a cache keeps."""
        try:
            zone = names.parse_zone(self.get_option("zone"))
            with open_session(self._connection(zone)) as session:
                found = session.ask(lambda exchange: browse.browse(exchange, zone, addresses=self._asks_addresses()))
        except (UpdateError, ValueError) as error:
            # Ansible prints the whole chain of causes; the sentence says it all.
            raise AnsibleParserError(f"{path}: {error}") from None
        for fault in found.faults:
            self.display.warning(f"{path}: left out: {fault}")
        without = [host.label for host in found.hosts if host.ula is None]
        if without and self.get_option("ansible_host") == "ula":
            raise AnsibleParserError(
                f"{path}: {', '.join(without)} has no address in {zone}: publish one, or set ansible_host: name"
            )
        return [_variables(host, zone.to_text(omit_final_dot=True)) for host in found.hosts]

    def _asks_addresses(self) -> bool:
        """A stub would open a tunnel to every host whose address it is asked for."""
        return self.get_option("server") is not None or self.get_option("ansible_host") == "ula"

    def _connection(self, zone: dns.name.Name) -> dict[str, Any]:
        """Return the options as the library takes them."""
        server, key_file, key_name = (self.get_option(name) for name in ("server", "key_file", "key_name"))
        key_secret = None
        if key_name:
            key_file, key_secret = None, _secret(key_file, key_name)
        return {
            "server": server or str(local_names.stub_address(zone)),
            "port": self.get_option("port") or (None if server else STUB_PORT),
            "tls": {"ca": self.get_option("ca"), "hostname": self.get_option("server_name")} if server else None,
            "timeout": self.get_option("timeout"),
            "retries": 1,
            "key_file": key_file,
            "key_name": key_name,
            "key_secret": key_secret,
            "key_algorithm": self.get_option("key_algorithm"),
        }

    def _add(self, variables: dict[str, Any]) -> None:
        """Add one host with its groups."""
        host = variables["btmm_name"] if self.get_option("inventory_name") == "name" else variables["btmm_label"]
        address = variables["btmm_ula"] if self.get_option("ansible_host") == "ula" else variables["btmm_name"]
        variables = {**variables, "ansible_host": address}
        ports = [service["port"] for service in variables["btmm_services"] if service["type"] == SSH]
        if ports and ports[0] != SSH_PORT:
            variables["ansible_port"] = ports[0]
        self.inventory.add_host(host)
        for name, value in variables.items():
            self.inventory.set_variable(host, name, value)
        for service in variables["btmm_services"]:
            self.inventory.add_host(host, self.inventory.add_group(_group(service["type"])))
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)


def _secret(path: str | None, key_name: str) -> str:
    """Return the secret of a named key, which is all that its file holds."""
    if path is None:
        raise ValueError(f"the key {key_name} has no secret: give key_file")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"the key file {path} cannot be read: {error.strerror}") from error


def _variables(host: browse.FoundHost, zone: str) -> dict[str, Any]:
    return {
        "btmm_label": host.label,
        "btmm_name": host.name.to_text(omit_final_dot=True),
        "btmm_zone": zone,
        "btmm_title": host.title,
        "btmm_model": host.model,
        "btmm_realm": host.realm,
        "btmm_ula": None if host.ula is None else str(host.ula),
        "btmm_services": [
            {"type": offer.service.type, "port": offer.service.port, "txt": list(offer.service.txt)}
            for offer in host.offers
        ],
    }


def _group(kind: str) -> str:
    """Return the group of a service type: `ssh_tcp` for `_ssh._tcp`."""
    return kind.removeprefix("_").replace("._", "_").replace("-", "_")
