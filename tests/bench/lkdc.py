# SPDX-License-Identifier: GPL-3.0-or-later
"""What one sign-on costs: making a host's realm, and the way from a click to the list of a shared folder's files.

The click is what a file browser does for smb://imac.Z/SHARE, by a user who logged in once: a ticket, then the list. It
is measured on a rehearsal fleet, with no ticket and no tunnel before, and again with both there.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from ansible_collections.btmm.fleet.plugins.module_utils import krb5_names, x509
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc import Kdc, Settings
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_keytab import Installed
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_mint import mint
from ansible_collections.btmm.fleet.plugins.module_utils.lkdc_principals import Wanted
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.report import report
from tests.certificates import PREFIX
from tests.e2e import proof
from tests.e2e.click import SMB, as_user, log_in
from tests.e2e.fleet import ROOT, Fleet
from tests.e2e.proof import ZONE

if TYPE_CHECKING:
    from cryptography import x509 as cx509

MINTS = 10
CLICKS = 10
FLEET = "bench_lkdc"
HOST = f"imac.{ZONE}"


def mint_once(ca: cx509.Certificate, key: ec.EllipticCurvePrivateKey) -> float:
    """Make a realm as the module `lkdc_realm` does, of nothing; return the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        kdc, data = Kdc(Path(folder) / "kdc"), Path(folder) / "data"
        settings = Settings(("::1",), 88, "10h", "7d")
        begin = time.perf_counter()
        kdc.files.make_key()
        kdc.make_anchor()
        realm = kdc.realm()
        assert realm is not None
        profile = x509.Profile(HOST, realm=realm)
        certificate = x509.issue(x509.load_request(kdc.files.request()), profile, ca, key)
        kdc.files.install(kdc.files.certificate, x509.to_pem(certificate))
        kdc.files.install(kdc.files.ca, x509.to_pem(ca))
        kdc.conf.write_text(kdc.conf_text(realm, data, settings))
        kdc.create(realm, data)
        services = tuple(krb5_names.service_principals(krb5_names.SERVICES, realm, HOST))
        users = {"alice": krb5_names.user_rule("alice", ZONE)}
        minted = mint(kdc, Wanted(realm, services, users, exclusive=True), doing=True)
        assert not minted.fault
        keytab = Installed.read(Path(folder) / "krb5.keytab")
        keytab.write(keytab.merged(realm, HOST, minted.entries, minted.names), 0o600, "root", "root")
        return time.perf_counter() - begin


def minting_tasks() -> int:
    """Return how many tasks of the role make the realm."""
    tasks = yaml.safe_load((ROOT / "roles" / "lkdc" / "tasks" / "present.yml").read_text())
    return sum(any(key.startswith("btmm.fleet.lkdc_") for key in task) for task in tasks)


def share() -> str:
    """Return the name of the folder that imac shares in the rehearsal inventory."""
    variables = yaml.safe_load((ROOT / "inventories" / "lab" / "host_vars" / "imac.yml").read_text())
    name: str = variables["services_shares"][0]["name"]
    return name


def click(fleet: Fleet) -> float:
    """List the folder's files as the user on macbook; return the seconds it took there."""
    script = (
        f"begin=$(date +%s%N); btmm ticket --quiet {HOST}; {SMB} //{HOST}/{share()} -c ls >/dev/null\n"
        "echo $(( $(date +%s%N) - begin ))"
    )
    return int(as_user(fleet, "macbook", script).splitlines()[-1]) / 1e9


def clicks(fleet: Fleet) -> tuple[list[float], list[float]]:
    """Return seconds of first clicks, with nothing there before, and of second ones."""
    first, second = [], []
    for _ in range(CLICKS):
        as_user(fleet, "macbook", "kdestroy -A || true")
        proof.drop_tunnels(fleet, "macbook", "imac")
        first.append(click(fleet))
        second.append(click(fleet))
    return first, second


def enrolled() -> Fleet:
    """Return a fleet with a user who logged in on macbook."""
    fleet = Fleet(FLEET)
    fleet.lab("up")
    run = fleet.playbook("site.yml")
    assert run.code == 0, run.output
    log_in(fleet, "macbook")
    return fleet


def main() -> None:
    """Measure and report."""
    ca, key = x509.make_ca(ZONE, PREFIX)
    mints = sorted(mint_once(ca, key) for _ in range(MINTS))
    fleet = enrolled()
    try:
        first, second = clicks(fleet)
        version = fleet.on("macbook", "smbclient", "--version").strip()
    finally:
        fleet.lab("down")
    rows = [
        ("what", "runs", "median", "slowest"),
        ("a realm with 12 services' principals, a user and the keytab, of nothing", *timed(mints)),
        ("click to file listing, no ticket and no tunnel before", *timed(first)),
        ("the same again", *timed(second)),
    ]
    numbers = {
        "mint_s": statistics.median(mints),
        "tasks": minting_tasks(),
        "click_s": statistics.median(first),
        "click_again_s": statistics.median(second),
    }
    report("lkdc", rows, numbers, (version,))


def timed(seconds: list[float]) -> tuple[str, str, str]:
    """Return the cells of a row."""
    return str(len(seconds)), f"{statistics.median(seconds):.3f} s", f"{max(seconds):.3f} s"


if __name__ == "__main__":
    main()
