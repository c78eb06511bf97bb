# SPDX-License-Identifier: GPL-3.0-or-later
import copy
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from lab import topology
from lab.errors import LabError
from lab.net import leases
from lab.paths import LAB

SMALL: dict[str, Any] = {
    "packages": ["systemd"],
    "images": {"trixie": {"release": "trixie", "packages": ["miniupnpd"]}},
    "segments": {"wan": "203.0.113.0/24", "home": "192.168.10.0/24"},
    "hosts": {
        "nat": {
            "image": "trixie",
            "kind": "router",
            "interfaces": {
                "wan": {"segment": "wan", "address": "203.0.113.1"},
                "lan": {"segment": "home", "address": "192.168.10.1"},
            },
        },
        "imac": {
            "image": "trixie",
            "page": True,
            "interfaces": {"eth0": {"segment": "home", "address": "192.168.10.10"}},
        },
    },
}


def test_small_fleet() -> None:
    fleet = topology.parse(SMALL)
    imac = fleet.host("imac")
    assert imac.kind == "host"
    assert imac.page
    assert imac.image.packages == ("systemd", "miniupnpd")
    assert imac.uplink.addresses == (IPv4Interface("192.168.10.10/24"),)
    assert fleet.host("nat").uplink.name == "wan"
    assert fleet.gateways("home") == (IPv4Address("192.168.10.1"),)
    assert fleet.gateways("wan") == ()


def test_the_fleet_that_ships() -> None:
    fleet = topology.load(LAB / "topology.toml")
    assert set(fleet.hosts) == {"zone", "mini", "nat-home", "nat-cafe", "imac", "macbook"}
    assert fleet.gateways("cafe") == (IPv4Address("192.168.20.1"),)
    assert {host.image.release for host in fleet.hosts.values()} == {"bookworm", "trixie"}


def test_a_definition_can_build_on_another() -> None:
    both, one = topology.load(LAB / "topologies" / "two-zones.toml"), topology.load(LAB / "topology.toml")
    assert set(both.hosts) - set(one.hosts) == {"zone2"}
    assert both.hosts["mini"] == one.hosts["mini"]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("hosts", "imac", "interfaces", "eth0", "segment"), "moon", "on segment 'moon', which is not defined"),
        (("hosts", "imac", "interfaces", "eth0", "address"), "192.168.10.1", "given to both nat and imac"),
        (("hosts", "imac", "interfaces", "eth0", "address"), "10.0.0.1", "not a host's address in 192.168.10.0/24"),
        (("hosts", "imac", "interfaces", "eth0", "address"), "192.168.10.255", "not a host's address"),
        (("hosts", "imac", "interfaces", "eth0", "address"), 7, "7 is not an IP address"),
        (("hosts", "imac", "interfaces"), {"lan": {}}, "must have the interfaces eth0"),
        (("hosts", "imac", "interfaces"), {}, "needs a table 'interfaces'"),
        (("hosts", "imac", "image"), "sid", "wants image 'sid'"),
        (("hosts", "imac", "kind"), "switch", "must be host or router"),
        (("hosts", "imac", "page"), "yes", "page must be true or false"),
        (("hosts", "imac", "colour"), "white", "has 'colour', which means nothing here"),
        (("hosts", "imac"), "a string", "host imac must be a table"),
        (("hosts", "Bob's iMac"), SMALL["hosts"]["imac"], 'host name "Bob\'s iMac" must be'),
        (("hosts", "-x"), SMALL["hosts"]["imac"], "host name '-x' must be"),
        (("segments", "home"), "192.168.10.1/24", "is not a network"),
        (("segments", "a-name-too-long"), "10.0.0.0/8", "segment name"),
        (("images", "trixie", "release"), "../etc", "is not the name of a Debian release"),
        (("images", "trixie", "packages"), "vim", "must be a list of package names"),
        (("images",), {}, "needs a table 'images'"),
        (("extra",), 1, "the file has 'extra'"),
    ],
)
def test_bad_definition_is_one_sentence(path: tuple[str, ...], value: object, sentence: str) -> None:
    data = copy.deepcopy(SMALL)
    table = data
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    with pytest.raises(LabError) as caught:
        topology.parse(data)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_routers_on_a_segment() -> None:
    data = copy.deepcopy(SMALL)
    data["hosts"]["other"] = copy.deepcopy(data["hosts"]["nat"])
    data["hosts"]["other"]["interfaces"]["wan"]["address"] = "203.0.113.2"
    data["hosts"]["other"]["interfaces"]["lan"]["address"] = "192.168.10.2"
    with pytest.raises(LabError, match="segment home has two routers, nat and other"):
        topology.parse(data)


def test_unknown_names() -> None:
    fleet = topology.parse(SMALL)
    with pytest.raises(LabError, match="no host 'mini' in this fleet; there are nat, imac"):
        fleet.host("mini")
    with pytest.raises(LabError, match="no segment 'moon' in this fleet; there are wan, home"):
        fleet.segment("moon")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        topology.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("hosts = [")
    with pytest.raises(LabError, match="is not TOML"):
        topology.load(broken)
    broken.write_text("x = 1")
    with pytest.raises(LabError, match=r"broken.toml: the file has 'x'"):
        topology.load(broken)


def dual() -> dict[str, Any]:
    """A WAN of both families, and a router without IPv4 behind it."""
    data = copy.deepcopy(SMALL)
    data["segments"] |= {"wan": ["203.0.113.0/24", "2001:db8::/64"], "six": "2001:db8:6::/64"}
    data["hosts"]["six"] = {
        "image": "trixie",
        "kind": "router",
        "interfaces": {
            "wan": {"segment": "wan", "address": "2001:db8::6"},
            "lan": {"segment": "six", "address": "2001:db8:6::1"},
        },
    }
    data["hosts"]["imac"]["interfaces"]["eth0"] = {"segment": "wan", "address": ["203.0.113.9", "2001:db8::9"]}
    return data


def test_segments_and_hosts_with_both_families() -> None:
    fleet = topology.parse(dual())
    assert fleet.host("imac").uplink.addresses == (ip_interface("203.0.113.9/24"), ip_interface("2001:db8::9/64"))
    assert fleet.gateways("six") == (ip_address("2001:db8:6::1"),)
    assert fleet.routes("wan") == {IPv6Network("2001:db8:6::/64"): IPv6Address("2001:db8::6")}
    assert not fleet.routes("home")
    assert fleet.host("six").router is None
    assert fleet.host("nat").router == topology.Router("random", True)


@pytest.mark.parametrize(
    ("host", "key", "value", "sentence"),
    [
        ("nat", "nat", "full", "host nat: nat must be random or cone"),
        ("nat", "mapping", "maybe", 'host nat: mapping must be true, false or "refused"'),
        ("six", "nat", "cone", "host six has 'nat', but is no router with IPv4 on its LAN"),
        ("imac", "mapping", False, "host imac has 'mapping', but is no router with IPv4 on its LAN"),
    ],
)
def test_bad_router_is_one_sentence(host: str, key: str, value: object, sentence: str) -> None:
    data = dual()
    data["hosts"][host][key] = value
    with pytest.raises(LabError) as caught:
        topology.parse(data)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("nets", [[], ["10.0.0.0/8", "11.0.0.0/8"], ["2001:db8::/64", "2001:db8:1::/64"]])
def test_a_segment_has_one_network_of_a_family(nets: list[str]) -> None:
    data = dual()
    data["segments"]["home"] = nets
    with pytest.raises(LabError, match="segment home needs one IPv4 network, one IPv6 network, or one of each"):
        topology.parse(data)


def test_an_interface_has_one_address_of_a_family() -> None:
    data = dual()
    data["hosts"]["imac"]["interfaces"]["eth0"]["address"] = ["203.0.113.9", "203.0.113.8"]
    with pytest.raises(LabError, match="host imac, eth0 needs an address, or one IPv4 and one IPv6 address"):
        topology.parse(data)


@pytest.mark.parametrize(
    ("net", "first", "count"),
    [("192.168.1.0/24", "192.168.1.129/24", 126), ("10.0.0.0/30", None, 0), ("10.0.0.0/29", "10.0.0.5/29", 2)],
)
def test_leases_are_in_the_upper_half(net: str, first: str | None, count: int) -> None:
    found = list(leases(ip_network(net)))
    assert len(found) == count
    assert (str(found[0]) if found else None) == first


def test_a_lease_in_a_network_too_big_to_be_listed() -> None:
    assert next(leases(ip_network("2001:db8:6::/64"))) == ip_interface("2001:db8:6::8000:0:0:1/64")


def test_the_grid_has_a_network_of_every_kind_for_each_side() -> None:
    fleet = topology.load(LAB / "topologies" / "nat-grid.toml")
    kinds = {"mapped", "cone", "random", "isp", "double", "cgn", "cgnat", "six"}
    assert set(fleet.segments) == {"wan"} | {f"{side}-{kind}" for side in ("left", "right") for kind in kinds}
    assert [len(fleet.gateways(segment)) for segment in fleet.segments] == [0] + [1] * 16
    assert fleet.host("left-cgnat").router == topology.Router("random", "refused")
    assert fleet.host("left-double").uplink.segment == "left-isp"


@pytest.mark.parametrize("path", sorted((LAB / "topologies").glob("*.toml")), ids=lambda path: path.name)
def test_each_topology_that_ships_can_be_read(path: Path) -> None:
    assert "zone" in topology.load(path).hosts
