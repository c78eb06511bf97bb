# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is enrolled, and hostile: macbook asks mini for what is not its own.

What it may have is in its certificate alone, as an RFC 3779 address block, and mini's charon holds it to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import private_pem
from tests.e2e import calls, proof
from tests.e2e.fleet import Fleet

CALLER = "macbook"


@pytest.fixture
def addressless(fleet: Fleet, tmp_path: Path) -> Iterator[str]:
    """Give it a certificate of the owner that is a zone server's, with the name of no host; return its file."""
    owner = OwnerStore(fleet.folder / "owner", proof.ZONE, (fleet.folder / "passphrase").read_text().strip())
    key = ec.generate_private_key(ec.SECP256R1())
    request = cx509.CertificateSigningRequestBuilder(cx509.Name([])).sign(key, hashes.SHA256())
    issued = x509.issue(request, x509.Profile(f"probe.{proof.ZONE}"), owner.ca, owner._ca_key)
    for folder, text in (("private", private_pem(key).decode()), ("x509", x509.to_pem(issued))):
        (tmp_path / folder).write_text(text)
        fleet.send(CALLER, tmp_path / folder, f"/etc/swanctl/{folder}/probe.pem")
    fleet.on(CALLER, "swanctl", "--load-creds", "--noprompt")
    yield "probe.pem"
    fleet.shell(CALLER, "rm /etc/swanctl/{private,x509}/probe.pem; swanctl --load-creds --clear --noprompt")


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


def test_the_owners_word_alone_is_no_address(fleet: Fleet, addressless: str) -> None:
    """A server's certificate, as a KDC's or a user's, is of the same CA; what it lacks is the address block."""
    refused = calls.call(
        fleet, CALLER, own=f"{proof.ula(fleet, CALLER)}/128", identity="probe", certificate=addressless
    )
    assert refused is not None
    assert "received AUTHENTICATION_FAILED" in refused
    assert calls.let_in(fleet) == []
