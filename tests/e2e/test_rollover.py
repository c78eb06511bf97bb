# SPDX-License-Identifier: GPL-3.0-or-later
"""Another CA takes the place of the owner's: no tunnel notices, who is away is waited for, the former one is over."""

from __future__ import annotations

import re
from functools import partial

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import bundle

from tests.e2e import calls, faults, proof
from tests.e2e.click import as_user, log_in, ticket
from tests.e2e.echoes import echoes
from tests.e2e.fleet import Fleet, Run, seconds_until

CERTIFICATE = f"/etc/swanctl/x509/btmm-{proof.ZONE}.pem"
FORMER = "/etc/swanctl/x509/former.pem"
ANCHORS = f"/etc/swanctl/x509ca/btmm-{proof.ZONE}.pem"
KEPT = "/run/former.pem"
WITHIN_S = 60  # on a busy machine; otherwise a second or two


def roll(fleet: Fleet, *arguments: str) -> Run:
    return fleet.playbook("playbooks/rollover.yml", *arguments)


def issuer(fleet: Fleet, host: str) -> str:
    return fleet.on(host, "openssl", "x509", "-noout", "-issuer", "-in", CERTIFICATE).rpartition("=")[2].strip()


def associations(fleet: Fleet) -> set[str]:
    """Return the SPIs of imac's and mini's tunnel."""
    listed = [set(re.findall(r"[0-9a-f]{16}_i", fleet.on(host, "swanctl", "--list-sas"))) for host in ("imac", "mini")]
    return listed[0] & listed[1]


def has_loaded(fleet: Fleet, host: str, number: int) -> bool:
    listed = fleet.on(host, "swanctl", "--list-certs", "--type", "x509", "--flag", "ca")
    return listed.count("  subject:") == number


def is_told(fleet: Fleet, host: str) -> bool:
    """Tell whether the notifier tells a host of changes; after a loss, LLQ serves for a while as well as Push."""
    return faults.status(fleet, host)["follow"] in {"push", "llq"}


def reach(fleet: Fleet) -> None:
    """Have macbook and imac make a new tunnel, from either side, and macbook's alice a new ticket."""
    for client, server in (("macbook", "imac"), ("imac", "macbook")):
        fleet.shell("macbook", "swanctl --list-sas | sed -n 's/^[^ ].*: #\\([0-9]*\\),.*/\\1/p' | "
                    "xargs -r -n 1 swanctl --terminate --force --ike-id > /dev/null || true")  # fmt: skip
        url = f"http://{server}.{proof.ZONE}/"
        seconds_until(partial(faults.opens, fleet, client, server), WITHIN_S, f"{client} opens {url}")
    as_user(fleet, "macbook", "kdestroy -A")
    ticket(fleet, "macbook", "imac")


@pytest.fixture(scope="module")
def stream(fleet: Fleet) -> Fleet:
    """Return the fleet with alice logged in on macbook, and a tunnel from imac to mini."""
    log_in(fleet, "macbook")
    proof.fetch(fleet, "imac", "mini")
    return fleet


def test_the_ca_is_changed_under_live_tunnels(stream: Fleet) -> None:
    fleet, before, former = stream, associations(stream), issuer(stream, "imac")
    assert before
    fleet.on("macbook", "cp", CERTIFICATE, KEPT)
    with echoes(fleet, "imac", f"mini.{proof.ZONE}") as lost:
        begun = roll(fleet, "-e", "btmm_rollover=begin", "--limit", "!macbook")
        assert begun.code == 0, begun.output
        assert re.search(r"does not sign yet; these lack it:\s+macbook, macbook \(kdc\)'", begun.output), begun.output
        for host in ("imac", "mini"):
            seconds_until(partial(has_loaded, fleet, host, 2), WITHIN_S, f"{host} has both anchors")
        reach(fleet)

        # With macbook everybody has both. It gets a certificate of the next CA, the others have theirs still.
        changed = roll(fleet, "--limit", "macbook")
        assert changed.code == 0, changed.output
        assert issuer(fleet, "macbook") != former == issuer(fleet, "imac")
        reach(fleet)
        refused = roll(fleet, "-e", "btmm_rollover=retire")
        assert refused.code != 0
        assert re.search(r"in use\s+by\s+imac, imac\s+\(kdc\),\s+mini", refused.output), refused.output

        replaced = roll(fleet)
        assert replaced.code == 0, replaced.output
        assert "of the former one are with: nobody" in replaced.output
        retired = roll(fleet, "-e", "btmm_rollover=retire")
        assert retired.code == 0, retired.output
        for host in proof.WAN:
            seconds_until(partial(has_loaded, fleet, host, 1), WITHIN_S, f"{host} has one anchor")
            assert len(bundle.split(fleet.on(host, "cat", ANCHORS))) == 1
        reach(fleet)
        assert lost() == []
    assert before <= associations(fleet)
    again = roll(fleet, "-e", "btmm_rollover=retire", "--limit", "macbook")
    assert again.code == 0, again.output
    assert all(each.changed == 0 for each in again.recap.values()), again.output
    proof.records(fleet)
    for host in proof.WAN:
        seconds_until(partial(is_told, fleet, host), WITHIN_S, f"{host} is told of changes")


def test_a_certificate_of_the_former_one_is_worth_nothing(stream: Fleet) -> None:
    """Not to a host, though key and names are right and it is on no list."""
    own = f"{proof.ula(stream, 'macbook')}/128"
    stream.on("macbook", "cp", KEPT, FORMER)
    try:
        refused = calls.call(stream, "macbook", own=own, certificate=FORMER)
        assert refused is not None
        assert "AUTHENTICATION_FAILED" in refused
    finally:
        stream.on("macbook", "rm", FORMER)
    assert calls.call(stream, "macbook", own=own) is None
