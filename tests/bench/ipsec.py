# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tunnel carries, beside strongSwan alone, WireGuard in user space and Nebula; and a host with many peers."""

from __future__ import annotations

import argparse
import os

from ansible_collections.btmm.fleet.plugins.module_utils import ipsec

from tests.bench import crowd
from tests.bench.overlays import Nebula, Ours, Overlay
from tests.bench.report import report, table
from tests.bench.roam import FILE
from tests.bench.throughput import ENDS, Raw, Stream, WireGuard, middle, stream
from tests.e2e.fleet import Fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="streams through each, in turn (%(default)s)")
    given = parser.parse_args()
    fleet = Fleet(os.environ.get("BTMM_FLEET", "bench_ipsec"), "tests/bench/roam_fleet")
    fleet.lab("--topology", str(FILE), "up", timeout=300)
    run = fleet.playbook("site.yml")
    if run.code:
        raise SystemExit(run.output)
    ours = Ours(fleet)
    suite = ipsec.suites(2, calling=True)[0]
    esp = ipsec.proposals(2, calling=False).esp[0]  # what two hosts of ours agree upon
    everyone: tuple[Overlay, ...] = (ours, Raw(fleet, suite.ike, esp), Nebula(fleet), WireGuard(fleet))
    for overlay in everyone:
        overlay.stop()
    found: dict[str, list[Stream]] = {overlay.name: [] for overlay in everyone}
    for _ in range(given.rounds):
        for overlay in everyone:
            overlay.start()
            overlay.connect(*ENDS)
            found[overlay.name].append(stream(fleet, overlay))
            overlay.stop()
    ours.start()
    many = crowd.measure(fleet, ours)
    if not os.environ.get("BTMM_KEEP"):
        fleet.lab("down")
    medians = {name: middle(streams) for name, streams in found.items()}
    table(
        [
            [f"{crowd.KNOWN:,} hosts in the zone, {crowd.LIVE} tunnels", "measured"],
            *([f"`{program}`, resident MiB", f"{mib:.1f}"] for program, mib in many.rss_mib.items()),
            [f"{crowd.LIVE} callers connected, {crowd.AT_ONCE} at a time, s", f"{many.connected_s:.1f}"],
            ["one more by name, to its first byte, s", f"{many.first_byte_s:.3f}"],
            [f"all {crowd.LIVE} with new keys, {crowd.AT_ONCE} at a time, s", f"{many.rekeyed_s:.1f}"],
        ]
    )
    rows = [["one TCP stream", "Mbit/s", "rounds", "CPU s per Gbit, both ends"]]
    for name, median in medians.items():
        rounds = ", ".join(f"{each.mbit:.0f}" for each in found[name])
        rows.append([name, f"{median.mbit:.0f}", rounds, f"{median.cpu_s_per_gbit:.1f}"])
    numbers = {
        "ratio_vs_raw": medians["btmm"].mbit / medians["raw"].mbit,
        "mbit": medians["btmm"].mbit,
        "nebula_mbit": medians["nebula"].mbit,
        "wireguard_go_mbit": medians["wireguard-go"].mbit,
        "known_1000_rss_mib": sum(many.rss_mib.values()),
    }
    report("ipsec", rows, numbers, ["strongSwan 5.9.8, kernel-libipsec", "Nebula 1.6.1", f"ESP {esp}"])


if __name__ == "__main__":
    main()
