# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishes 1,000 hosts into a real BIND: with this collection, with raw dnspython, with community.general.nsupdate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.query
import dns.rcode
import dns.rdatatype
import dns.update
import dns.version
from ansible_collections.btmm.fleet.plugins.module_utils import names, records
from ansible_collections.btmm.fleet.plugins.module_utils.publication import Wanted
from ansible_collections.btmm.fleet.plugins.module_utils.publisher import publish

from tests.bench.report import report
from tests.named import ADDRESS, SECRET, Named, serving, version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ZONE = names.parse_zone("bob.members.example")
HOSTS = 1000
SERVICES = [{"type": "ssh", "port": 22}, {"type": "http", "port": 80}, {"type": "rfb", "port": 5900}]
OUTER = records.Endpoint(IPv4Address("203.0.113.1"), 4500)
ROUNDS = 3  # the best of so many counts, for each way
RAW_BATCHES = (10, 30, 60)  # hosts in one message; the fastest counts
# community.general.nsupdate takes hours for all: the time of so many hosts, less that of one, is scaled up.
NSUPDATE_HOSTS = 5
OTHER_ANSIBLE = Path("build/bench/nsupdate/bin")


def descriptions() -> list[dict[str, Any]]:
    """Return the hosts as a module's option `hosts` takes them."""
    return [
        {
            "label": f"host-{number:04}",
            "title": f"Bob's host {number:04}",
            "ula": f"fd12:3456:789a::{number:x}",
            "model": "iMac4,1",
            "services": SERVICES,
            "endpoint": {"address": str(OUTER.address), "port": OUTER.port},
        }
        for number in range(1, HOSTS + 1)
    ]


def wanted(described: Sequence[dict[str, Any]]) -> list[Wanted]:
    hosts = [records.host_from_config({**each, "zone": str(ZONE)}) for each in described]
    return [Wanted(host.label, records.host_records(host, records.Reach((OUTER,))), host.label) for host in hosts]


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def ours(named: Named, hosts: Sequence[Wanted]) -> int:
    """Publish; return the number of messages."""
    with named.session() as session:
        outcome = publish(session, ZONE, hosts)
    assert not outcome.failed
    return outcome.messages


def raw(named: Named, hosts: Sequence[Wanted], batch: int) -> None:
    """Publish as a script with dnspython would: without looking first, one message after the other."""
    for begin in range(0, len(hosts), batch):
        message = dns.update.UpdateMessage(ZONE, keyring=named.key)
        for host in hosts[begin : begin + batch]:
            for record in host.records:
                put = message.add if record.shared else message.replace
                put(record.name, record.ttl, record.rdata)
        answer = dns.query.tcp(message, ADDRESS, port=named.port, timeout=60)
        assert answer.rcode() == dns.rcode.NOERROR


def play(program: Path, directory: Path, book: list[dict[str, Any]], inventory: dict[str, Any]) -> None:
    """Run a playbook."""
    (directory / "play.json").write_text(json.dumps(book))
    (directory / "hosts.json").write_text(json.dumps(inventory))
    environment = {**os.environ, "ANSIBLE_RETRY_FILES_ENABLED": "0"}
    command: list[str | Path] = [program, "-i", directory / "hosts.json", directory / "play.json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{program} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")


def key_options(named: Named) -> dict[str, Any]:
    return {"server": ADDRESS, "port": named.port, "key_name": named.key.name.to_text(), "key_secret": SECRET}


def play_ours(named: Named, directory: Path, described: Sequence[dict[str, Any]]) -> None:
    """Publish by the action plugin, with ansible-playbook as people run it."""
    hosts = {
        each["label"]: {"identity_ula": each["ula"], **{f"btmm_{key}": value for key, value in each.items()}}
        for each in described
    }
    task = {
        "btmm.fleet.dns_publish": {**key_options(named), "zone": str(ZONE)},
        "delegate_to": "localhost",
        "run_once": True,
    }
    book = [{"hosts": "all", "gather_facts": False, "tasks": [task]}]
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": hosts, "vars": common}}
    play(Path(sys.executable).parent / "ansible-playbook", directory, book, inventory)


def play_nsupdate(named: Named, directory: Path, hosts: Sequence[Wanted]) -> None:
    """Publish by community.general.nsupdate, which takes one record set at a time."""
    items = [
        {
            "record": record.name.to_text(),
            "type": dns.rdatatype.to_text(record.rdata.rdtype),
            "ttl": record.ttl,
            "value": [record.rdata.to_text()],
        }
        for host in hosts
        for record in host.records
    ]
    options = {key: f"{{{{ item.{key} }}}}" for key in items[0]}
    task = {
        "community.general.nsupdate": {
            **key_options(named),
            **options,
            "zone": str(ZONE),
            "key_algorithm": "hmac-sha256",
            "protocol": "tcp",
        },
        "loop": items,
    }
    book = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    python = {"ansible_python_interpreter": str((OTHER_ANSIBLE / "python").absolute())}
    play(OTHER_ANSIBLE / "ansible-playbook", directory, book, {"all": {"hosts": {"localhost": python}}})


def pointers(named: Named) -> int:
    """Return how many hosts offer ssh in the zone."""
    with named.connect() as exchange:
        return len(exchange.lookup(names.service_name("ssh", ZONE), dns.rdatatype.PTR))


def main() -> None:
    described = descriptions()
    hosts = wanted(described)
    count = sum(len(host.records) for host in hosts)
    best: dict[str, float] = {}
    messages = 0

    def measure(name: str, work: Callable[[], object]) -> None:
        best[name] = min(best.get(name, float("inf")), seconds(work))

    for _ in range(ROUNDS):
        with serving(ZONE) as named:
            begin = time.perf_counter()
            messages = ours(named, hosts)
            best["publish"] = min(best.get("publish", float("inf")), time.perf_counter() - begin)
            assert pointers(named) == HOSTS
            measure("nochange", lambda named=named: ours(named, hosts))  # type: ignore[misc]
        for batch in RAW_BATCHES:
            with serving(ZONE) as named:
                measure(f"raw {batch}", lambda named=named, batch=batch: raw(named, hosts, batch))  # type: ignore[misc]
    with tempfile.TemporaryDirectory(prefix="btmm-bench-") as name:
        with serving(ZONE) as named:
            measure("play", lambda: play_ours(named, Path(name), described))
            assert pointers(named) == HOSTS
            measure("play nochange", lambda: play_ours(named, Path(name), described))
        with serving(ZONE) as named:
            one = seconds(lambda: play_nsupdate(named, Path(name), hosts[:1]))
            several = seconds(lambda: play_nsupdate(named, Path(name), hosts[1 : NSUPDATE_HOSTS + 1]))
            left = pointers(named)
    nsupdate = (several - one) / (NSUPDATE_HOSTS - 1) * HOSTS
    batch = min(RAW_BATCHES, key=lambda size: best[f"raw {size}"])
    raw_best = best[f"raw {batch}"]
    ratio = {"ratio_vs_nsupdate": nsupdate / best["play"], "ratio_vs_raw": raw_best / best["publish"]}
    note = (
        f"extrapolated from {NSUPDATE_HOSTS} hosts, start of Ansible not counted; "
        f"ratio {ratio['ratio_vs_nsupdate']:.0f} (goal 50); "
        f"of {NSUPDATE_HOSTS + 1} pointers at `_ssh._tcp` it left {left}"
    )
    report(
        "dns",
        [
            [f"{HOSTS:,} hosts, {count:,} records", "seconds", "UPDATE messages", "note"],
            ["library of `dns_publish`", f"{best['publish']:.2f}", str(messages), "reads the zone first"],
            ["the same, nothing changed", f"{best['nochange']:.2f}", "0", "one transfer"],
            [
                "raw dnspython batches",
                f"{raw_best:.2f}",
                str(-(-HOSTS // batch)),
                f"{batch} hosts a message, the best of {RAW_BATCHES}; ratio {ratio['ratio_vs_raw']:.2f} (goal 0.8)",
            ],
            ["`dns_publish` by ansible-playbook", f"{best['play']:.2f}", str(messages), "start of Ansible included"],
            ["the same, nothing changed", f"{best['play nochange']:.2f}", "0", ""],
            [
                "`community.general.nsupdate` by ansible-playbook",
                f"{nsupdate:.0f}",
                "one or more a record",
                note,
            ],
        ],
        {"publish_1000_s": best["publish"], "nochange_1000_s": best["nochange"], **ratio},
        [version(), f"dnspython {dns.version.version}", "community.general of ansible 12.3.0"],
    )


if __name__ == "__main__":
    main()
