# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong stops one host, with one sentence that names host, cause and fix; the others go on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import proof
from tests.e2e.fleet import Fleet, Run


def sentence(run: Run, host: str) -> str:
    """Return the message with which a host was stopped."""
    found = re.search(
        rf"fatal: \[{host}\]: (?:FAILED|UNREACHABLE)! =>\s(?P<text>.*?)(?=\n\n|\nfatal|\nPLAY|\nTASK)",
        run.output,
        re.DOTALL,
    )
    assert found, run.output
    return " ".join(found["text"].split())


def stopped_alone(run: Run, host: str) -> None:
    """Assert that this host was stopped and no other one was even changed."""
    assert run.recap[host].failed or run.recap[host].unreachable, run.output
    for other, counts in run.recap.items():
        if other != host:
            assert (counts.failed, counts.unreachable, counts.changed) == (0, 0, 0), f"{other}\n{run.output}"


def heal(fleet: Fleet) -> None:
    """Run site.yml and see that the fleet is whole again."""
    run = fleet.playbook("site.yml")
    assert run.code == 0, run.output
    proof.records(fleet)


@contextmanager
def hidden(fleet: Fleet, host: str, path: str) -> Iterator[None]:
    """Move a file of a host out of the way."""
    fleet.on(host, "mv", path, f"{path}.hidden")
    try:
        yield
    finally:
        fleet.on(host, "mv", f"{path}.hidden", path)


def test_a_host_without_a_data_path_is_stopped_before_anything_is_written(fleet: Fleet) -> None:
    with hidden(fleet, "mini", "/dev/net/tun"):
        run = fleet.playbook("site.yml")
    stopped_alone(run, "mini")
    assert re.search(r"mini: .*(ESP|TUN).*;", sentence(run, "mini")), sentence(run, "mini")


def test_a_dead_host_harms_nobody(fleet: Fleet) -> None:
    fleet.shell(
        "macbook",
        "systemctl stop ssh.service ssh.socket 2>/dev/null || true; pkill -f 'sshd.*[n]otty' || true",
    )
    run = fleet.playbook("site.yml")
    fleet.on("macbook", "systemctl", "start", "ssh.service")
    stopped_alone(run, "macbook")
    proof.fetch(fleet, "mini", "imac")


def test_a_lost_tsig_key_is_put_back(fleet: Fleet) -> None:
    fleet.on("mini", "rm", f"{proof.FOLDER}/tsig.secret")
    run = fleet.playbook("site.yml", "--limit", "mini")
    assert run.code == 0, run.output
    assert run.recap["mini"].changed, run.output
    proof.records(fleet)


def test_a_wrong_tsig_key_is_told(fleet: Fleet) -> None:
    """As after a zone host was set up anew from another owner's folder."""
    fleet.shell(
        "mini",
        f"head -c 32 /dev/urandom | base64 > {proof.FOLDER}/tsig.secret; systemctl restart --no-block {proof.WATCHER}",
    )
    told = fleet.shell("mini", "btmm wait --timeout 15 2>&1 && exit 1 || true")
    assert re.search(r"^mini(\.\S+)?: .*(BADSIG|BADKEY|key).*: ?\S+", told), told
    assert len(told.strip().splitlines()) == 1, told
    heal(fleet)


def test_an_unreachable_zone_server_is_told(fleet: Fleet) -> None:
    fleet.lab("unplug", "zone")
    try:
        fleet.on("mini", "systemctl", "restart", "--no-block", proof.WATCHER)
        run = fleet.playbook("site.yml", "--limit", "mini,imac")
    finally:
        fleet.lab("plug", "zone", "wan")
    stopped_alone(run, "mini")
    assert re.search(r"mini\S*: .*zone\.bob\.members\.example.*203\.0\.113\.10", sentence(run, "mini")), sentence(
        run, "mini"
    )
    heal(fleet)


def test_a_wrong_zone_name_stops_before_anything_is_written(fleet: Fleet) -> None:
    for wrong in ("bob", "bob..example", ".".join(["a" * 60] * 5)):
        run = fleet.playbook("site.yml", variables={"btmm_zone": wrong})
        assert run.code != 0
        assert not any(counts.changed for counts in run.recap.values()), run.output
        assert re.search(r"zone.*(domain|label|octets)", run.output), run.output
    proof.records(fleet)


def test_two_hosts_of_one_label_are_both_named(fleet: Fleet) -> None:
    """Only the later one is stopped: the name belongs to who had it first."""
    extra = fleet.folder / "twice.yml"
    extra.write_text("all: {hosts: {macbook: {btmm_label: imac}}}\n", encoding="utf-8")
    run = fleet.playbook("-i", str(extra), "site.yml")
    assert run.code != 0
    told = sentence(run, "macbook")
    assert "imac" in told
    assert "macbook" in told
    assert not any(counts.changed for counts in run.recap.values()), run.output
    proof.records(fleet)
