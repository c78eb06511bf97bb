# SPDX-License-Identifier: GPL-3.0-or-later
"""One host in the zones of two owners, each with servers, CA, /48 and inventory of their own, and no word of the other.

Bob has imac and mini, Alice has macbook and the same imac, which she calls workstation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.e2e import proof
from tests.e2e.fleet import ROOT, CommandFailed, Fleet, Run

OUTER = proof.WAN["imac"]


@dataclass(frozen=True)
class Owner:
    """An owner, and what the shared host is in their zone."""

    fleet: Fleet
    name: str
    server: str
    label: str
    other: str

    @property
    def zone(self) -> str:
        return f"{self.name}.members.example"

    @property
    def shared(self) -> str:
        """The shared host's name in the zone."""
        return f"{self.label}.{self.zone}"

    @property
    def unit(self) -> str:
        return f"btmm-watcher@{self.zone}.service"

    def play(self, *arguments: str) -> Run:
        """Run a playbook as this owner."""
        own = replace(self.fleet, inventory=f"tests/e2e/owners/{self.name}.yml")
        return own.playbook(*arguments, "--extra-vars", "@inventories/lab/group_vars/all/connection.yml")

    def enrol(self) -> Run:
        run = self.play("site.yml")
        assert run.code == 0, run.output
        return run

    def leave(self) -> Run:
        """Take the shared host out of the zone."""
        run = self.play("playbooks/unenrol.yml", "--limit", "imac")
        assert run.code == 0, run.output
        return run

    def held(self, name: str, kind: str) -> list[str]:
        """Return what the owner's server holds at a name of the zone."""
        command = f"dig @127.0.0.1 +short -k /etc/bind/btmm/admin.key {name}.{self.zone} {kind}"
        return self.fleet.shell(self.server, command).split("\n")[:-1]

    def ula(self) -> str:
        """Return the shared host's address as the zone tells it."""
        (address,) = self.held(self.label, "AAAA")
        return address

    def fetch(self) -> str:
        """Fetch the shared host's page by name from the owner's other host."""
        return self.fleet.on(self.other, "curl", "--silent", "--fail", "--max-time", "10", f"http://{self.shared}/")


def tunnels(fleet: Fleet, zone: str) -> list[str]:
    """Return the shared host's tunnels to hosts of a zone: connection, number, own name, peer's name."""
    listed = fleet.on("imac", "swanctl", "--list-sas")
    found = re.findall(r"^(\S+: #\d+), ESTABLISHED.*\n  local  '(\S+)'.*\n  remote '(\S+)'", listed, re.MULTILINE)
    return [" ".join(each) for each in found if each[2].endswith(zone)]


def state(fleet: Fleet, owner: Owner) -> str:
    """Return what must not change on the shared host when the other owner does something there."""
    return fleet.shell(
        "imac",
        f"find /etc -name '*{owner.zone}*' -type f -exec sha256sum {{}} + | sort; sha256sum /etc/btmm/{owner.zone}/*\n"
        f"systemctl show --property=MainPID,ActiveEnterTimestampMonotonic {owner.unit} strongswan.service"
        f" btmm-guard@{owner.zone}.service btmm-address@{owner.zone}.service\n"
        f"ip -6 -brief address | grep -o '{owner.ula()}/128'; nft list tables | grep {owner.zone}",
    )


def mapped(fleet: Fleet) -> list[str]:
    """Return the outer ports that the router of the shared host lets in to its UDP 4500."""
    rules = fleet.on("nat-home", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
    return re.findall(r"dport (\d+) dnat ip to \S+:4500", rules)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Return a clean fleet with a zone host for each owner; BTMM_KEEP=1 leaves it up afterwards."""
    topology = ROOT / "lab" / "topologies" / "two-zones.toml"
    fleet = Fleet(f"{Fleet().name}_owners", variables={"BTMM_TOPOLOGY": str(topology)})
    fleet.lab("down")
    fleet.lab("up")
    yield fleet
    if not os.environ.get("BTMM_KEEP"):
        fleet.lab("down")


@pytest.fixture(scope="module")
def bob(fleet: Fleet) -> Owner:
    return Owner(fleet, "bob", "zone", "imac", "mini")


@pytest.fixture(scope="module")
def alice(fleet: Fleet) -> Owner:
    return Owner(fleet, "alice", "zone2", "workstation", "macbook")


@pytest.fixture(scope="module")
def enrolled(fleet: Fleet, bob: Owner, alice: Owner) -> tuple[str, str]:
    """Enrol for Bob, open a tunnel, enrol for Alice; return what was there of Bob's before and after."""
    bob.enrol()
    bob.fetch()
    before = state(fleet, bob) + "\n".join(tunnels(fleet, bob.zone))
    alice.enrol()
    return before, state(fleet, bob) + "\n".join(tunnels(fleet, bob.zone))


def test_the_second_owner_touches_nothing_of_the_first(enrolled: tuple[str, str]) -> None:
    before, after = enrolled
    assert "bob.members.example" in before.splitlines()[-1], "there was no tunnel to lose"
    assert after == before


@pytest.mark.usefixtures("enrolled")
def test_it_is_published_in_both_zones_by_one_mapping(fleet: Fleet, bob: Owner, alice: Owner) -> None:
    assert len(mapped(fleet)) == 1
    for owner in (bob, alice):
        ((_, _, port, target),) = [
            line.split() for line in owner.held(f"_autotunnel._udp.{owner.label}", "SRV") if line.startswith("10 ")
        ]
        assert [port] == mapped(fleet)
        assert owner.held(target.removesuffix(f".{owner.zone}."), "A") == [OUTER]
    assert bob.ula()[:9] != alice.ula()[:9], "the two have one prefix"
    assert bob.held("workstation", "AAAA") == alice.held("imac", "AAAA") == []


@pytest.mark.usefixtures("enrolled")
def test_each_owners_host_reaches_it_as_its_own(fleet: Fleet, bob: Owner, alice: Owner) -> None:
    proof.drop_tunnels(fleet, "imac", "mini", "macbook")
    for owner in (bob, alice):
        assert "imac" in owner.fetch()
        (tunnel,) = tunnels(fleet, owner.zone)
        assert tunnel.split()[2:] == [owner.shared, f"{owner.other}.{owner.zone}"]


@pytest.mark.usefixtures("enrolled")
def test_it_reaches_the_hosts_of_both(fleet: Fleet, bob: Owner, alice: Owner) -> None:
    proof.drop_tunnels(fleet, "imac", "mini", "macbook")
    for owner in (bob, alice):
        page = fleet.on("imac", "curl", "--silent", "--max-time", "10", f"http://{owner.other}.{owner.zone}/")
        assert owner.other in page
        (tunnel,) = tunnels(fleet, owner.zone)
        assert tunnel.split()[2:] == [owner.shared, f"{owner.other}.{owner.zone}"]
    told = fleet.on("imac", "btmm", "status")
    hosts = [line.split()[1] for line in told.splitlines() if line.startswith("host ")]
    peers = [line.split()[1] for line in told.splitlines() if line.startswith("tunnel ")]
    assert (hosts, peers) == ([alice.shared, bob.shared], [f"macbook.{alice.zone}", f"mini.{bob.zone}"])


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize(
    ("wanted", "towards", "answer"),
    [
        pytest.param("bob", "bob", None, id="its own owner's host lets it in"),
        pytest.param("alice", "alice", "AUTHENTICATION_FAILED", id="Alice's connection takes no certificate of Bob's"),
        pytest.param("bob", "alice", "TS_UNACCEPTABLE", id="Bob's connection leads to no address of Alice's"),
    ],
)
def test_a_certificate_opens_its_own_zone_only(
    fleet: Fleet, bob: Owner, alice: Owner, wanted: str, towards: str, answer: str | None
) -> None:
    """Mini, which has Bob's certificate, calls the shared host under either name for either address."""
    owners = {"bob": bob, "alice": alice}
    proof.drop_tunnels(fleet, "imac", "mini")
    fleet.send("mini", ROOT / "molecule" / "tunnel" / "call-peer.py", "/run/call-peer.py")
    own = fleet.on("mini", "btmm", "status").split()[2]
    peer = [owners[wanted].shared, OUTER, f"{own}/128", owners[towards].ula()]
    call = ["python3", "/run/call-peer.py", f"mini.{bob.zone}", *peer]
    if answer is None:
        fleet.on("mini", *call)
    else:
        with pytest.raises(CommandFailed, match=f"received {answer}"):
            fleet.on("mini", *call)
        assert alice.ula() not in fleet.on("imac", "swanctl", "--list-sas")


@pytest.mark.usefixtures("enrolled")
def test_a_second_run_of_either_changes_nothing(bob: Owner, alice: Owner) -> None:
    for owner in (bob, alice):
        run = owner.enrol()
        assert not any(counts.changed for counts in run.recap.values()), run.output


@pytest.mark.usefixtures("enrolled")
def test_leaving_one_zone_touches_nothing_of_the_other(fleet: Fleet, bob: Owner, alice: Owner) -> None:
    proof.drop_tunnels(fleet, "imac", "mini", "macbook")
    for owner in (bob, alice):
        owner.fetch()
    before = state(fleet, alice), tunnels(fleet, alice.zone), mapped(fleet)
    assert tunnels(fleet, bob.zone)
    bob.leave()
    assert (state(fleet, alice), tunnels(fleet, alice.zone), mapped(fleet)) == before
    assert tunnels(fleet, bob.zone) == []
    assert bob.held("imac", "AAAA") == []
    left = fleet.shell(
        "imac",
        f"find /etc /run/btmm /run/systemd /var/lib -name '*{bob.zone}*'; ip -brief link | grep btmm-1b796c6d || true\n"
        f"nft list tables | grep {bob.zone} || true; swanctl --list-certs | grep {bob.zone} || true\n"
        f"swanctl --list-conns | grep bob || true; resolvectl domain | grep {bob.zone} || true",
    )
    assert left == ""
    assert "imac" in alice.fetch()
    proof.drop_tunnels(fleet, "imac", "macbook")
    assert "imac" in alice.fetch()
    run = alice.enrol()
    assert not any(counts.changed for counts in run.recap.values()), run.output


@pytest.mark.usefixtures("enrolled")
def test_the_last_one_leaves_a_host_as_it_was(fleet: Fleet, bob: Owner, alice: Owner) -> None:
    """Back in Bob's zone first, so that the one who enrolled first is not the one who leaves last both times."""
    bob.enrol()
    assert "imac" in bob.fetch()
    before = state(fleet, bob)
    alice.leave()
    assert state(fleet, bob) == before
    assert "imac" in bob.fetch()
    bob.leave()
    left = fleet.shell(
        "imac",
        "find /etc /run /var/lib /usr/local -path /run/credentials -prune -o -name '*btmm*' -print;"
        " ip -6 addr show dev lo | grep -o ' fd.*' || true; ip -brief link | grep btmm || true;"
        " nft list tables | grep btmm || true; systemctl is-active strongswan || true",
    )
    assert left.split() == ["inactive"], left
    assert mapped(fleet) == []
