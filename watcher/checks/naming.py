# SPDX-License-Identifier: GPL-3.0-or-later
"""From a program to the zone's names: the stub, and the way to it by systemd-resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.rdatatype
from ansible_collections.btmm.fleet.plugins.module_utils.exchange import Exchange, Server
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError

from . import Finding, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from . import Patient

_TIMEOUT_S = 3.0


def check(patient: Patient) -> Iterator[Finding]:
    """Ask for this host's own name, which needs nobody else: at the stub, then as programs do."""
    yield _stub(patient)
    if patient.config.resolved:
        yield _resolved(patient)


def _stub(patient: Patient) -> Finding:
    config = patient.config
    where = f"{config.stub_address} port {config.stub_port}"
    try:
        with Exchange(Server(config.stub_address, config.stub_port, timeout_s=_TIMEOUT_S), None) as exchange:
            found = {record.rdata.to_text() for record in exchange.lookup(config.host_name, dns.rdatatype.AAAA)}
    except UpdateError as err:
        return Finding("stub", str(err), f"systemctl restart btmm-watcher@{patient.zone}")
    if found != {str(config.host.ula)}:
        fix = f"'ss -lunp' shows who else listens at {where}"
        return Finding("stub", f"{where} says {', '.join(sorted(found)) or 'nothing'} for our own name", fix)
    since = patient.status.get("last_known")
    return Finding("stub", f"{where} answers" + (f", as last known since {since}" if since else ""))


def _resolved(patient: Patient) -> Finding:
    config = patient.config
    code, said = run("resolvectl", "domain", config.link_name)
    restart = f"systemctl restart systemd-resolved btmm-watcher@{patient.zone}"
    if code:
        return Finding("names", f"systemd-resolved knows no link {config.link_name} ({said})", restart)
    if f"~{patient.zone}" not in said.lower().split():
        return Finding("names", f"systemd-resolved does not send {patient.zone} to {config.link_name}", restart)
    name = config.host_name.to_text(omit_final_dot=True)
    code, said = run("resolvectl", "query", "--cache=no", "--legend=no", "--type=AAAA", name)
    if code or str(config.host.ula) not in said:
        return Finding("names", f"systemd-resolved does not find {name}: {said}", restart)
    return Finding("names", f"systemd-resolved asks the stub by {config.link_name}")
