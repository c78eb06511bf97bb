# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm browse` and `connect` against a stub that answers on loopback, and what the doctor says without a daemon."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from watcher import cli, places
from watcher.page.board import Board
from watcher.page.feed import Feed

from .conftest import written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dns.message import Message

ZONE = "bob.members.example"
APEX = f"{ZONE}."
TITLE = f"Bob's\\032iMac._ssh._tcp.{APEX}"
RECORDS = {
    (APEX, "SOA"): f"zone.{APEX} hostmaster.{APEX} 1 3600 600 1209600 60",
    (f"_services._dns-sd._udp.{APEX}", "PTR"): f"_ssh._tcp.{APEX}",
    (f"_ssh._tcp.{APEX}", "PTR"): TITLE,
    (TITLE, "SRV"): f"0 0 22 imac.{APEX}",
    (TITLE, "TXT"): '""',
    (f"Bob's\\032iMac._device-info._tcp.{APEX}", "TXT"): '"model=iMac\\0274,1"',
    (f"imac.{APEX}", "AAAA"): "fd12:3456:789a::2",
}


def respond(query: Message) -> Message:
    """Answer as the stub of a daemon does; `far` is a host whose tunnel can't be had."""
    answer = dns.message.make_response(query)
    question = query.question[0]
    name, kind = str(question.name), dns.rdatatype.to_text(question.rdtype)
    if (name, kind) in RECORDS:
        answer.answer.append(dns.rrset.from_text(question.name, 5, "IN", kind, RECORDS[name, kind]))
    elif name.startswith("far."):
        answer.set_rcode(dns.rcode.SERVFAIL)
        answer.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.NETWORK_ERROR, "no tunnel to far: call it")])
    elif not any(name == each for each, _ in RECORDS):
        answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer


def serve(listener: socket.socket) -> None:
    """Answer questions over TCP until the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(2):
                wire = respond(dns.message.from_wire(stream.read(int.from_bytes(head, "big")))).to_wire()
                connection.sendall(len(wire).to_bytes(2, "big") + wire)


class Rig:
    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory, self.capture = directory, capture

    def status(self, **values: Any) -> None:
        path = self.directory / "run" / ZONE / "status.json"
        path.write_text(json.dumps({"ula": "fd12:3456:789a::1", **values}))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.main(list(arguments))
        captured = self.capture.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Rig]:
    for root in ("etc", "run"):
        (tmp_path / root / ZONE).mkdir(parents=True)
    monkeypatch.setattr(places, "CONFIG_ROOT", tmp_path / "etc")
    monkeypatch.setattr(places, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(places, "STATE_ROOT", tmp_path / "state")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        written(tmp_path / "etc" / ZONE, stub={"address": "127.0.0.1", "port": port})
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield Rig(tmp_path, capsys)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_sidebar_without_what_commands_a_terminal(rig: Rig) -> None:
    code, out, err = rig.run("browse")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        ZONE,
        f"  Bob's iMac  imac.{ZONE}  (iMac?4,1)",
        "    _ssh._tcp            port 22",
    ]


def test_browse_by_type(rig: Rig) -> None:
    (hosts,) = json.loads(rig.run("browse", "ssh", "--json")[1]).values()
    assert [host["name"] for host in hosts] == [f"imac.{ZONE}"]
    assert rig.run("browse", "http")[1] == f"{ZONE}  offers nothing\n"
    assert rig.run("browse", "no/type")[0] == 2


def test_connect_says_the_way(rig: Rig) -> None:
    rig.status(peers=[{"address": "fd12:3456:789a::2", "outer": "203.0.113.101:4500", "rung": "direct"}])
    for given in ("imac", f"imac.{ZONE}", f"IMAC.{ZONE}."):
        code, out, _ = rig.run("connect", given)
        assert code == 0
        assert out.startswith(f"imac.{ZONE}  fd12:3456:789a::2  direct 203.0.113.101:4500  ")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("far", "no tunnel to far: call it"),
        ("nobody", "no host of bob.members.example"),
        ("no..name", "'no..name' is no name of a host"),
        ("imac.example.com", "see 'btmm browse'"),
    ],
)
def test_connect_fails_with_one_sentence(rig: Rig, given: str, reason: str) -> None:
    rig.status(peers=[])
    code, out, err = rig.run("connect", given)
    assert (code, out) == (1, "")
    assert reason in err
    assert len(err.splitlines()) == 1


def test_without_a_daemon_each_command_says_so(rig: Rig) -> None:
    written(rig.directory / "etc" / ZONE, stub={"address": "127.0.0.1", "port": 9})
    for command in (("browse",), ("connect", "imac")):
        code, _, err = rig.run(*command)
        assert code == 1
        assert "the daemon does not run" in err


def test_the_doctor_needs_a_configuration(rig: Rig) -> None:
    (rig.directory / "etc" / ZONE / "tsig.secret").unlink()
    code, out, _ = rig.run("doctor")
    assert code == 1
    assert out.splitlines()[1].startswith("FAULT  configuration: the TSIG secret")


async def test_the_page_asks_the_stub_for_a_user_without_the_key(rig: Rig) -> None:
    rig.status(host=f"macbook.{ZONE}", peers=[{"name": f"imac.{ZONE}", "outer": "203.0.113.101:4500", "rung": "lan"}])
    board = Board()
    running = asyncio.create_task(Feed(ZONE, board, None).async_run())
    try:
        with board.reader():
            shown = await asyncio.to_thread(board.after, 0, 10)
    finally:
        running.cancel()
    (zone,) = json.loads(shown[1] or "")
    assert (zone["follow"], zone["fault"]) == ("polling", None)
    assert [(each["title"], each["state"], each["rung"]) for each in zone["hosts"]] == [
        ("Bob's iMac", "tunnel", "lan"),
        ("macbook", "here", None),
    ]


def test_a_page_that_can_not_be_served_says_why(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, out, err = rig.run("page", "--port", str(taken.getsockname()[1]))
    assert (code, out) == (1, "")
    assert "in use): name another --port" in err
    code, out, err = rig.run("page", "--port", "65536")
    assert (code, out) == (1, "")
    assert "name another --port" in err
    (rig.directory / "etc" / ZONE / "tsig.secret").write_text("no secret")
    code, out, err = rig.run("page")
    assert (code, out) == (1, "")
    assert "tsig.secret is not readable base64: run the watcher role" in err
