# SPDX-License-Identifier: GPL-3.0-or-later
"""The `lab` command."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab import image, topology
from lab.errors import LabError
from lab.hosts import Fleet
from lab.net import addresses_in
from lab.paths import LAB, fleet_dir


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 after a failure told on standard error, or the program's."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--fleet", metavar="NAME", help="which fleet (default: BTMM_FLEET or demo)")
    common.add_argument(
        "--topology", metavar="FILE", type=Path, help="definition (default: BTMM_TOPOLOGY or lab/topology.toml)"
    )
    parser = argparse.ArgumentParser(prog="lab", description="The rehearsal fleet.", parents=[common])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    command("up", "start hosts (all, unless some are named); those that run stay as they are").add_argument(
        "host", nargs="*"
    )
    command("down", "remove the fleet; images stay")
    plug = command("plug", "move a host's cable to another segment")
    plug.add_argument("host")
    plug.add_argument("segment")
    plug.add_argument("address", nargs="*", help="default: its own in that segment, or free ones")
    command("unplug", "pull a host's cable").add_argument("host")
    command("restart", "reboot a host").add_argument("host")
    command("status", "what runs, and where it is plugged").add_argument("--json", action="store_true", dest="as_json")
    for name, text in (
        ("exec", "run a program on a host, past SSH"),
        ("ssh", "log in, or run a program there"),
    ):
        inside = command(name, text)
        inside.add_argument("host")
        inside.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    images = command("image", "make the images").add_mutually_exclusive_group()
    images.add_argument("--rebuild", action="store_true", help="even if they are there")
    images.add_argument("--remove", action="store_true", help="remove them instead")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    name = getattr(arguments, "fleet", None) or os.environ.get("BTMM_FLEET") or "demo"
    folder = fleet_dir(name)
    wanted = os.environ.get("BTMM_TOPOLOGY")
    file = _topology_file(getattr(arguments, "topology", None) or (Path(wanted) if wanted else None), folder)
    # `down` must work when the definition is broken or gone.
    definition = topology.Topology({}, {}) if arguments.command == "down" else topology.load(file)
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and needs root; run it with sudo")
    start = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"fleet {name}: {time.monotonic() - start:4.1f} s  {text}\n")

    fleet = Fleet(name, folder, definition, file, say)
    match arguments.command:
        case "up":
            fleet.up([definition.host(host) for host in arguments.host] or list(definition.hosts.values()))
            say("up")
        case "down":
            fleet.down()
        case "image" if arguments.remove:
            image.remove()
        case "image":
            image.ensure({host.image for host in definition.hosts.values()}, arguments.rebuild)
        case "status":
            rows = fleet.status()
            sys.stdout.write(json.dumps(rows, indent=2) + "\n" if arguments.as_json else _table(rows))
        case _:
            return _on_host(fleet, definition.host(arguments.host), arguments)
    return 0


def _on_host(fleet: Fleet, host: topology.Host, arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "plug":
            nets = fleet.topology.segment(arguments.segment)
            where = f"segment {arguments.segment}"
            wanted = addresses_in(nets, arguments.address, where) if arguments.address else ()
            sys.stdout.write(f"{' '.join(map(str, fleet.plug(host, arguments.segment, wanted)))}\n")
        case "unplug":
            fleet.unplug(host)
        case "restart":
            fleet.restart(host)
        case verb:
            fleet.require_running(host)
            words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
            sys.stdout.flush()
            if verb == "ssh":
                command = fleet.ssh.command(host.name, *words)
            else:
                terminal = ("-it",) if sys.stdin.isatty() and sys.stdout.isatty() else ("-i",)
                command = ["podman", "exec", *terminal, fleet.container(host.name), *(words or ("/bin/bash",))]
            os.execvp(command[0], command)  # noqa: S606 - no shell is what we want
    return 0


def _topology_file(chosen: Path | None, folder: Path) -> Path:
    remembered = folder / "topology"
    if not remembered.exists():
        return (chosen or LAB / "topology.toml").resolve()
    running = Path(remembered.read_text().strip())
    if chosen and chosen.resolve() != running:
        raise LabError(f"fleet {folder.name} was started from {running}; take it down first, or name another fleet")
    return running


def _table(rows: list[dict[str, object]]) -> str:
    lines: list[tuple[str, ...]] = [("HOST", "KIND", "IMAGE", "STATE", "PLUGGED", "ADDRESSES")]
    for row in rows:
        segments, addresses = row["segments"], row["addresses"]
        assert isinstance(segments, dict)  # noqa: S101 - for the type checker
        assert isinstance(addresses, dict)  # noqa: S101
        lines.append(
            (
                *(str(row[key]) for key in ("host", "kind", "image", "state")),
                " ".join(f"{interface}:{segment or '-'}" for interface, segment in segments.items()),
                " ".join(address for found in addresses.values() for address in found),
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)
