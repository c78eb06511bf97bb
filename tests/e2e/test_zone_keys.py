# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone outlives its machine, and its keys are replaced while everything goes on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e import faults, proof
from tests.e2e.fleet import Fleet
from tests.e2e.test_zone_writes import write

KEEP_ASKING = Path(__file__).with_name("keep_asking.py")


def whole_zone(fleet: Fleet) -> str:
    """Transfer the zone, signatures and serial number included."""
    command = "dig @127.0.0.1 +noall +answer +onesoa -k /etc/bind/btmm/admin.key"
    return fleet.shell("zone", f"{command} {proof.ZONE} AXFR | sort")


@pytest.fixture
def backup(fleet: Fleet) -> Path:
    for changed in (1, 0):
        run = fleet.playbook("playbooks/backup.yml")
        assert run.code == 0, run.output
        assert run.recap["zone"].changed == changed, run.output
    return fleet.folder / "owner-backup" / f"{proof.ZONE}.sealed"


def test_a_lost_zone_host_and_a_lost_controller_come_back_from_the_backup(fleet: Fleet, backup: Path) -> None:
    before = whole_zone(fleet)
    secret = fleet.on("mini", "cat", f"{proof.FOLDER}/tsig.secret").strip()
    assert backup.stat().st_mode & 0o777 == 0o600
    sealed = backup.read_text(encoding="utf-8")
    assert "imac" not in sealed
    assert secret not in sealed
    shutil.rmtree(fleet.folder / "owner")
    subprocess.run(["podman", "rm", "--force", "--time", "0", f"btmm-{fleet.name}-zone"], check=True, timeout=60)
    fleet.lab("up", "zone")

    run = fleet.playbook("playbooks/restore.yml")
    assert run.code == 0, run.output
    assert run.recap["zone"].changed
    assert whole_zone(fleet) == before
    assert fleet.on("mini", "cat", f"{proof.FOLDER}/tsig.secret").strip() == secret
    # Each daemon writes and asks with the key that it had.
    for host in ("imac", "macbook", "mini"):
        fleet.on(host, "systemctl", "restart", proof.WATCHER)
        # The new zone host has another MAC address, which routers may learn some seconds later.
        fleet.shell(host, "for _ in {1..6}; do btmm wait --timeout 20 && exit; sleep 3; done; exit 1", timeout=200)
    faults.whole(fleet)
    proof.again(fleet)


def test_a_backup_opens_with_the_owners_passphrase_only(fleet: Fleet, backup: Path) -> None:
    before = whole_zone(fleet)
    run = fleet.playbook("playbooks/restore.yml", variables={"btmm_owner_passphrase": "not the owner's"})
    assert run.code != 0
    assert re.search(r"zone: the passphrase does not open", " ".join(run.output.split())), run.output
    assert backup.exists()
    assert whole_zone(fleet) == before


def test_keys_are_replaced_while_a_host_writes_and_asks(fleet: Fleet) -> None:
    fleet.shell("mini", f"cat > /run/keep_asking.py <<'END'\n{KEEP_ASKING.read_text(encoding='utf-8')}\nEND")
    former = fleet.on("mini", "cat", f"{proof.FOLDER}/tsig.secret").strip()
    with fleet.started("mini", "python3", "/run/keep_asking.py") as counted:
        run = fleet.playbook("playbooks/rotate.yml")
        fleet.on("mini", "touch", "/run/enough")
        result = json.loads(counted())
    assert run.code == 0, run.output
    assert result["bad"] == []
    assert result["good"] > 20

    fleet.on(
        "mini",
        "bash",
        "-c",
        f"dig @203.0.113.10 -y hmac-sha256:mini.{proof.ZONE}:{former} {proof.ZONE} SOA | grep BADKEY",
    )
    assert "REFUSED" in write(
        fleet, f"add mini.{proof.ZONE}. 120 A 203.0.113.20"
    )  # with the new key it has its grants, no others
    faults.whole(fleet)
    proof.again(fleet)
