# SPDX-License-Identifier: GPL-3.0-or-later
"""From the UPDATE that BIND has answered to the event at the subscriber: by Push, by LLQ, and by what there is else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

import dns.name
import dns.update
from ansible_collections.btmm.fleet.plugins.module_utils import names

from notifier.config import Limits
from notifier.mirror import Mirror
from notifier.notified import Listener
from notifier.upstream import Primary
from tests.bench import raw_notify
from tests.bench.report import report
from tests.certificates import Owner
from tests.named import ADDRESS, SECRET, Named, free_port, serving, version
from tests.notifier import REVERSE, SERVER_NAME, ZONE, Notifier, notifying

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from notifier.mirror import Change

SSH = dns.name.from_text("_ssh._tcp", ZONE)
# Subscribers, and how many changes are made while they listen.
CROWDS = {1: 200, 100: 50, 1_000: 20, 10_000: 8}
# The protocols, each with the module that subscribes; another one adds a line, and prints the same JSON.
SUBSCRIBERS = {"push": "tests.bench.push_clients", "llq": "tests.bench.llq_clients"}
HOW = {"push": "Push by TLS", "llq": "LLQ by UDP with TSIG"}
PAUSE_S = 0.1  # between changes: what one left behind shall not slow down the next
SERVER_CORE, CLIENT_CORE = "0", "1"
TTL_S = 120  # of a host's address (docs/architecture.md), which polling goes by


@dataclass
class Measured:
    """What one protocol did for one number of subscribers."""

    delays_s: list[float] = field(default_factory=list)  # of every event at every subscriber
    last_s: list[float] = field(default_factory=list)  # of every event, until the last subscriber had it
    missed: int = 0
    kb_per_session: float = 0.0
    cpu_s_per_1000: float = 0.0
    subscribe_s: float = 0.0

    def percentile_s(self, percent: int) -> float:
        """Return what so many percent of the events did not exceed."""
        return quantiles(self.delays_s, n=100, method="inclusive")[percent - 1]


def change(named: Named, number: int) -> float:
    """Add a pointer; return when BIND had answered, by the system's monotonic clock."""
    message = dns.update.UpdateMessage(ZONE)
    message.add(SSH, TTL_S, "PTR", f"host-{number}._ssh._tcp.{ZONE}")
    with named.connect() as exchange:
        exchange.send(message)
        return time.monotonic()


@contextlib.contextmanager
def subscribed(notifier: Notifier, protocol: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Have subscribers in a process on the other core."""
    secret = notifier.directory / "imac.secret"
    secret.write_text(SECRET)
    command = ["taskset", "-c", CLIENT_CORE, sys.executable, "-m", SUBSCRIBERS[protocol]]
    options = {
        "address": ADDRESS,
        "port": getattr(notifier.ports, protocol),
        "server-name": SERVER_NAME,
        "ca": notifier.owner.ca,
        "key-name": names.tsig_key_name("imac", ZONE),
        "secret": secret,
        "name": SSH,
        "type": "PTR",
        "count": count,
    }
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert line(process) == {"subscribed": count}
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> dict[str, object]:
    """Return what the subscribers say next."""
    assert process.stdout is not None
    text = process.stdout.readline()
    if not text:
        raise SystemExit("the subscribers have ended")
    found: dict[str, object] = json.loads(text)
    return found


def measure(protocol: str, count: int) -> Measured:
    """Measure one protocol with so many subscribers."""
    measured = Measured()
    limits = Limits(
        sessions=12_000,
        sessions_per_address=12_000,
        subscriptions_per_client=12_000,
        llqs_per_client=12_000,
        llq_burst=1_000_000,  # all subscribers have one address
        llq_verified_per_s=1_000_000,
    )
    with notifying(limits=limits, prefix=("taskset", "-c", SERVER_CORE)) as notifier:
        before_kb, begun = notifier.resident_kb, time.monotonic()
        with subscribed(notifier, protocol, count) as process:
            measured.subscribe_s = time.monotonic() - begun
            time.sleep(1)
            measured.kb_per_session = (notifier.resident_kb - before_kb) / count
            cpu_s = notifier.cpu_s
            for number in range(CROWDS[count]):
                answered = change(notifier.named, number)
                times = line(process)["times"]
                assert isinstance(times, list)
                delays = [at - answered for at in times]
                measured.delays_s += delays
                measured.last_s.append(max(delays))
                measured.missed += count - len(delays)
                time.sleep(PAUSE_S)
            measured.cpu_s_per_1000 = (notifier.cpu_s - cpu_s) / max(len(measured.delays_s), 1) * 1000
    return measured


async def async_transfer_s() -> float:
    """Return the median time from the answered UPDATE until a secondary in this process has it: NOTIFY and IXFR."""
    told: list[float] = []

    def hear(changes: Sequence[Change]) -> None:
        if any(each.name == SSH for each in changes):
            told.append(time.monotonic())

    with tempfile.TemporaryDirectory(prefix="btmm-bench-") as name:
        owner, port = Owner(Path(name)), free_port()
        with serving(ZONE, REVERSE, tls=owner.server(), notify=port) as named:
            mirror = Mirror()
            listener = Listener(lambda: {named.key.name: named.key}, lambda: frozenset({ADDRESS}), mirror.notice)
            await listener.async_start(ADDRESS, port)
            mirror.keep({ZONE: Primary(SERVER_NAME, (ADDRESS,), named.tls_port, owner.ca, named.key)})
            while (state := mirror.state(ZONE)) is None or state.stale:  # noqa: ASYNC110 - once, before it begins
                await asyncio.sleep(0.05)
            mirror.subscribe(hear)
            delays = []
            for number in range(CROWDS[1]):
                answered = await asyncio.to_thread(change, named, number)
                while len(told) <= number:  # noqa: ASYNC110 - the callback is synchronous
                    await asyncio.sleep(0.001)
                delays.append(told[number] - answered)
            listener.stop()
            await mirror.async_stop()
    return sorted(delays)[len(delays) // 2]


def row(what: str, count: int, measured: Measured) -> list[str]:
    """Return a row of the table."""
    milliseconds = [measured.percentile_s(50), measured.percentile_s(99), max(measured.last_s)]
    return [
        what,
        f"{count:,}",
        *(f"{value * 1000:,.1f}" for value in milliseconds),
        f"{measured.cpu_s_per_1000 * 1000:.0f}",
        f"{measured.kb_per_session:.1f}",
        f"{CROWDS[count]} changes" + (f", {measured.missed} events missed" if measured.missed else ""),
    ]


def main() -> None:
    numbers: dict[str, float] = {}
    rows = [["how", "subscribers", "p50 ms", "p99 ms", "last ms", "CPU ms per 1,000 events", "kB a session", "note"]]
    transfer_s = asyncio.run(async_transfer_s())
    rows.append(["NOTIFY and IXFR alone", "1", f"{transfer_s * 1000:.1f}", "", "", "", "", "a secondary: our mirror"])
    largest = max(CROWDS)
    for protocol, what in HOW.items():
        for count in CROWDS:
            measured = measure(protocol, count)
            rows.append(row(what, count, measured))
            print(rows[-1], flush=True)
            if count == 1:
                numbers[f"{protocol}_one_p50_ms"] = measured.percentile_s(50) * 1000
            if count == largest:
                numbers[f"{protocol}_{count}_p99_s"] = measured.percentile_s(99)
                numbers[f"{protocol}_kb_per_session"] = measured.kb_per_session
    rows += [raw(count) for count in (1, largest)]
    rows += polling(largest)
    numbers["kb_per_session"] = numbers["push_kb_per_session"]
    numbers["one_p50_ms"] = numbers["push_one_p50_ms"]
    numbers["one_over_ixfr_ms"] = numbers["one_p50_ms"] - transfer_s * 1000
    report("notify", rows, numbers, [version()])


def raw(count: int) -> list[str]:
    """Return a row of what BIND's NOTIFY alone does; each secondary would have to transfer after that."""
    delays = [delay for each in raw_notify.measure(count, change, CROWDS[count]) for delay in each]
    found = quantiles(delays, n=100, method="inclusive")
    milliseconds = (found[49], found[98], max(delays))
    note = f"without the transfer; {CROWDS[count] * count - len(delays)} missed; notify-rate {raw_notify.RATE:,}"
    return ["raw NOTIFY", f"{count:,}", *(f"{value * 1000:,.1f}" for value in milliseconds), "", "", note]


def polling(count: int) -> list[list[str]]:
    """Return what asking again whenever the TTL has passed comes to: an expectation, not a measurement."""
    note = f"computed: a change falls anywhere into the TTL of {TTL_S} s; {count / TTL_S:.0f} questions/s for ever"
    return [["polling at TTL", f"{count:,}", f"{TTL_S * 500:,}", f"{TTL_S * 990:,}", f"{TTL_S * 1000:,}", "", "", note]]


if __name__ == "__main__":
    main()
