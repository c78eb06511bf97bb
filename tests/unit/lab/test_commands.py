# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab would run and write; nothing here needs root, podman or a network."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab import archive, cli, fabric, files, image, paths, podman, topology
from lab.errors import LabError
from lab.run import run
from lab.ssh import SshFiles

FLEET = topology.load(paths.LAB / "topology.toml")


def test_image_name_follows_the_definition() -> None:
    one = topology.Image("trixie", ("systemd",))
    assert image.tag(one) == image.tag(topology.Image("trixie", ("systemd",)))
    assert image.tag(one) != image.tag(topology.Image("trixie", ("systemd", "curl")))
    assert image.tag(one).startswith("localhost/btmm-lab:trixie-")
    command = image.mmdebstrap(one)
    assert command[0] == "mmdebstrap"
    assert command[-2:] == ["trixie", "-"]
    assert "--include=systemd" in command


def test_container_lives_in_its_named_namespace() -> None:
    options = podman.Options(("--runtime", "runc"), ("--ulimit", "nproc=1:1"))
    command = podman.create_command(options, "btmm-demo-imac", "imac", "demo", "localhost/x:1")
    assert command[:4] == ["podman", "--runtime", "runc", "create"]
    assert command[command.index("--network") + 1] == "ns:/run/netns/btmm-demo-imac"
    assert command[-2:] == ["localhost/x:1", "/lib/systemd/systemd"]
    assert "--ulimit" in command


def test_the_plain_way_is_tried_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(podman, "HYBRID", tmp_path / "cgroup.procs")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert podman.candidates()[0] == podman.Options()
    assert all(not options.before for options in podman.candidates())
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert [options.before for options in podman.candidates()] == [(), (), *[("--runtime", "runc")] * 2]


def test_where_crun_works_at_times_only_it_is_tried_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(podman, "HYBRID", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert [options.before for options in podman.candidates()] == [*[("--runtime", "runc")] * 2, (), ()]


def test_port_names_fit_and_differ() -> None:
    hosts = ["imac", "nat-home", "a-host-with-a-long-name", "a-host-with-a-long-name-2", "x" * 63]
    names = [fabric.port(host, interface) for host in hosts for interface in ("wan", "lan", "eth0")]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 15 for name in names)
    assert fabric.port("imac", "eth0") == "imac.eth0"


def test_router_files() -> None:
    made = files.host_files(FLEET.host("nat-home"), "demo", "ssh-ed25519 AAAA op\n", ("private", "public"))
    config = made["etc/miniupnpd/lab.conf"].content
    assert "allow 1024-65535 192.168.10.0/24 1024-65535" in config
    assert "$" not in config
    assert made["etc/sysctl.d/lab-router.conf"].content == "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"
    assert "masquerade random" in made["etc/nftables.conf"].content
    other = files.host_files(FLEET.host("nat-cafe"), "demo", "", ("", ""))["etc/miniupnpd/lab.conf"].content
    assert config.split("uuid=")[1] != other.split("uuid=")[1]


def of_kind(**kind: object) -> dict[str, archive.File]:
    """Files of nat-home as a router of that kind."""
    host = replace(FLEET.host("nat-home"), router=topology.Router(**{"nat": "random", "mapping": True, **kind}))  # type: ignore[arg-type]
    return files.host_files(host, "demo", "", ("", ""))


def test_routers_of_each_kind() -> None:
    cone = of_kind(nat="cone")["etc/nftables.conf"].content
    assert cone.replace("masquerade\n", "masquerade random\n") == of_kind()["etc/nftables.conf"].content
    assert not [path for path in of_kind(mapping=False) if "miniupnpd" in path]
    assert set(of_kind(mapping="refused")) == set(of_kind())
    rules = [
        line for line in of_kind(mapping="refused")["etc/miniupnpd/lab.conf"].content.splitlines() if "0-65535" in line
    ]
    assert rules == ["deny 0-65535 0.0.0.0/0 0-65535"]
    six = files.host_files(replace(FLEET.host("nat-home"), router=None), "demo", "", ("", ""))
    assert "etc/sysctl.d/lab-router.conf" in six
    assert "etc/nftables.conf" not in six


def test_host_files_as_an_archive() -> None:
    made = files.host_files(FLEET.host("imac"), "demo", "ssh-ed25519 AAAA op\n", ("private", "public"))
    with tarfile.open(fileobj=io.BytesIO(archive.archive(made))) as tar:
        members = {member.name: member for member in tar}
        page = tar.extractfile("var/www/html/index.html")
        assert page is not None
        assert page.read() == b"This is imac.\n"
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert members["etc/systemd/system/multi-user.target.wants/nginx.service"].issym()
    assert len(made["etc/machine-id"].content.strip()) == 32
    assert "etc/nftables.conf" not in members
    assert "var/www/html/index.html" not in files.host_files(FLEET.host("zone"), "demo", "", ("", ""))


def test_ssh_config(tmp_path: Path) -> None:
    folder = tmp_path / "50% of it"
    folder.mkdir()
    (folder / "host-imac.pub").write_text("ssh-ed25519 AAAAkey comment\n")
    ssh = SshFiles(folder, "demo")
    ssh.write_config()
    config = ssh.config.read_text()
    assert "ProxyCommand nsenter --net=/run/netns/btmm-demo-%h nc 127.0.0.1 22" in config
    assert "50%% of it/id_ed25519" in config
    assert "StrictHostKeyChecking yes" in config
    assert (folder / "known_hosts").read_text() == "imac ssh-ed25519 AAAAkey\n"
    assert ssh.command("imac", "true") == ["ssh", "-F", str(ssh.config), "imac", "true"]


@pytest.mark.parametrize("name", ["", "Demo", "a-b", "1x", "x" * 32, "../x"])
def test_fleet_names(name: str) -> None:
    with pytest.raises(LabError, match="must be 1 to 31"):
        paths.fleet_dir(name)


def test_a_fleet_keeps_the_topology_it_was_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "topology").write_text(f"{paths.LAB / 'topology.toml'}\n")
    assert cli.main(["--fleet", "demo", "--topology", str(tmp_path / "other.toml"), "status"]) == 1
    assert "was started from" in capsys.readouterr().err


def test_a_failed_command_says_what_and_why() -> None:
    with pytest.raises(LabError, match=r"`sh -c echo oh no >&2; exit 3` failed: oh no"):
        run(["sh", "-c", "echo oh no >&2; exit 3"])
    with pytest.raises(LabError, match="no-such-program is not installed"):
        run(["no-such-program"])
    with pytest.raises(LabError, match=r"took longer than 0\.05 s"):
        run(["sleep", "5"], timeout=0.05)
