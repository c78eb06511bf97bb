# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is enrolled, and hostile: macbook asks mini for what is not its own.

What it may have is in its certificate alone, as an RFC 3779 address block, and mini's charon holds it to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e import calls, proof
from tests.e2e.fleet import Fleet

CALLER = "macbook"


@pytest.fixture(autouse=True)
def _no_tunnels(fleet: Fleet) -> Iterator[None]:
    # The daemons would make tunnels of their own in between.
    for host in (CALLER, calls.PEER):
        fleet.on(host, "systemctl", "stop", proof.WATCHER)
    proof.drop_tunnels(fleet, CALLER, calls.PEER)
    yield
    proof.drop_tunnels(fleet, CALLER, calls.PEER)
    for host in (CALLER, calls.PEER):
        fleet.on(host, "systemctl", "start", proof.WATCHER)


def test_its_own_address_is_its_own(fleet: Fleet) -> None:
    own = f"{proof.ula(fleet, CALLER)}/128"
    assert calls.call(fleet, CALLER, own=own) is None
    assert calls.let_in(fleet) == [own]


def test_another_hosts_address_is_refused(fleet: Fleet) -> None:
    refused = calls.call(fleet, CALLER, own=f"{proof.ula(fleet, 'imac')}/128")
    assert refused is not None
    assert "received TS_UNACCEPTABLE" in refused
    assert calls.let_in(fleet) == []


def test_of_the_whole_prefix_it_gets_its_own_address(fleet: Fleet) -> None:
    own = proof.ula(fleet, CALLER)
    prefix = re.sub(r"^(([0-9a-f]+:){3}).*", r"\1:/48", own)
    calls.call(fleet, CALLER, own=prefix)
    assert calls.let_in(fleet) == [f"{own}/128"]


def test_another_hosts_name_is_refused(fleet: Fleet) -> None:
    refused = calls.call(fleet, CALLER, own=f"{proof.ula(fleet, 'imac')}/128", identity="imac")
    assert refused is not None
    assert re.search("AUTHENTICATION_FAILED|no private key", refused)
    assert calls.let_in(fleet) == []
