# SPDX-License-Identifier: GPL-3.0-or-later
"""The notifier of an enrolled fleet: it has what the zone has a moment later, and knows who left."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e import proof
from tests.e2e.fleet import Fleet, seconds_until

KEYS = "/run/btmm-notifier-keys/keys.conf"
WITHIN_S = 1.0


def told(fleet: Fleet) -> dict[str, Any]:
    """Return the notifier's status."""
    status: dict[str, Any] = json.loads(fleet.on("zone", "cat", "/run/btmm-notifier/status.json"))
    return status


def zone(fleet: Fleet) -> dict[str, Any]:
    """Return how the notifier says that the zone stands."""
    found: dict[str, Any] = told(fleet)["zones"][proof.ZONE]
    return found


def serial(fleet: Fleet) -> int:
    return int(
        fleet.shell("zone", f"dig @127.0.0.1 +short -k /etc/bind/btmm/admin.key {proof.ZONE} SOA | cut -d ' ' -f 3")
    )


def followed(fleet: Fleet, before: int) -> None:
    """See that the zone changes, and that the mirror has the change."""
    seconds_until(lambda: serial(fleet) > before, 30, "the zone changes")
    # Asking takes longer than following: each look is a command in a container.
    seconds_until(lambda: zone(fleet)["serial"] == serial(fleet), WITHIN_S + 2, "the mirror has the change")


def test_a_host_that_comes_and_goes_is_in_the_mirror_at_once(fleet: Fleet) -> None:
    for command in ("stop", "start"):
        before = serial(fleet)
        fleet.on("mini", "systemctl", command, f"btmm-watcher@{proof.ZONE}.service")
        followed(fleet, before)
    fleet.on("mini", "btmm", "wait")
    proof.records(fleet)


def test_the_notifier_outlives_the_primarys_restart_and_its_own(fleet: Fleet) -> None:
    for unit in ("named", "btmm-notifier"):
        fleet.on("zone", "systemctl", "restart", unit)
        seconds_until(
            lambda: not zone(fleet)["stale"] and zone(fleet)["serial"] == serial(fleet), 20, "the mirror is as the zone"
        )


def test_it_holds_the_hosts_keys_and_not_the_owners(fleet: Fleet) -> None:
    held = fleet.on("zone", "cat", KEYS)
    for host in ("imac", "macbook", "mini", "zone-notifier"):
        assert f'key "{host}.{proof.ZONE}." {{' in held
    secret = fleet.on("zone", "cat", "/etc/bind/btmm/admin.key").split('secret "')[1].split('"')[0]
    assert secret not in held
    with pytest.raises(AssertionError, match="Permission denied"):
        fleet.on("zone", "runuser", "-u", "btmm-notifier", "--", "cat", "/etc/bind/btmm/keys.conf")


# The status tells of the way as soon as anything is followed: the list of revoked certificates is, before any peer.
SUBSCRIBED_S = 5.0
COUNTED_S = 20.0  # the notifier tells every ten seconds how many there are


def follow(fleet: Fleet, host: str) -> str:
    """Return how a host's watcher learns of changes."""
    status = json.loads(fleet.on(host, "cat", f"/run/btmm/{proof.ZONE}/status.json"))
    method: str = status["follow"]
    return method


@pytest.mark.parametrize(
    ("off", "method", "server"),
    [
        (["push"], "llq", "llq_tls"),
        (["push", "llq_tls"], "llq", "llq"),
        (["push", "llq_tls", "llq"], "polling", None),
        ([], "push", "push"),  # last, since it leaves everything as it was
    ],
    ids=["LLQ by TLS", "LLQ by UDP", "polling", "Push"],
)
def test_a_watcher_follows_by_the_best_way_that_there_is(
    fleet: Fleet, off: list[str], method: str, server: str | None
) -> None:
    run = fleet.playbook("site.yml", variables={f"notifier_{kind}_port": 0 for kind in off})
    assert run.code == 0, run.output
    proof.drop_tunnels(fleet, "imac", "macbook")
    for host in ("imac", "macbook"):
        fleet.on(host, "systemctl", "restart", f"btmm-watcher@{proof.ZONE}.service")
    for host in ("imac", "macbook"):
        fleet.on(host, "btmm", "wait", "--timeout", "30")
    # The tunnel is what there is to follow for. The one who called stays, and the other one moves.
    fleet.on("macbook", "ping", "-c", "1", f"imac.{proof.ZONE}")
    seconds_until(lambda: follow(fleet, "macbook") == method, 30, f"macbook follows by {method}")
    if server is not None:
        # By TLS or by UDP, a watcher calls it LLQ.
        seconds_until(lambda: told(fleet)[server]["subscriptions"], COUNTED_S, f"{server} has subscribers")
    time.sleep(SUBSCRIBED_S)
    moved = time.time()
    try:
        fleet.lab("plug", "imac", "cafe")
        journal = f"journalctl --since @{moved:.3f} -u btmm-watcher@{proof.ZONE}"
        heard = f"{journal} | grep -c 'imac is elsewhere now' || true"
        patience_s = 30 if method != "polling" else 150
        seconds_until(lambda: int(fleet.shell("macbook", heard)) > 0, patience_s, "macbook hears that imac moved")
    finally:
        fleet.lab("plug", "imac", "home")
        fleet.on("imac", "btmm", "wait", "--timeout", "30")
